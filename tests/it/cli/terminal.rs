//! What a person sees who is asked for a password at a terminal.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::app::PASSWORD;
use crate::process::{PATIENCE, Place, until};

/// A command on a pseudo-terminal of its own.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
    /// Kept open, so that the terminal can be asked for its state after the command is gone.
    line: OwnedFd,
}

impl Terminal {
    fn run(place: &Place, args: &[&str]) -> Terminal {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap();
        let line = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let plain = place.command(args);
        // Makes it the terminal of a session, where `/dev/tty` means it.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--ctty").arg(plain.get_program()).args(plain.get_args());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(plain.get_current_dir().unwrap());
        let end = || line.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();

        let keyboard = File::from(near);
        let (mut output, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut some = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut some) {
                shown.lock().unwrap().extend_from_slice(&some[..length]);
            }
        });
        Terminal { keyboard, screen, child, line }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Types at a prompt, once nothing that is typed is shown.
    #[track_caller]
    fn types(&mut self, prompt: &str, keys: &str) {
        let asked = until(PATIENCE, || (self.screen().ends_with(prompt) && !self.echoes()).then_some(()));
        assert!(asked.is_some(), "`{prompt}` was not asked without echo: {:?}", self.screen());
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Its exit code, if it was not killed, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let Some(status) = until(PATIENCE, || self.child.try_wait().unwrap()) else {
            self.child.kill().unwrap();
            panic!("it did not end: {:?}", self.screen());
        };
        assert!(self.echoes(), "the terminal is left without echo");
        // What follows the command's own last words, so that nothing of those is missed.
        File::from(self.line.try_clone().unwrap()).write_all(b"(end)").unwrap();
        until(PATIENCE, || self.screen().ends_with("(end)").then_some(())).unwrap();
        (status.code(), self.screen())
    }
}

#[test]
fn a_password_typed_twice_is_taken_and_never_shown() {
    let place = Place::prepared();
    let mut terminal = Terminal::run(&place, &["user", "add", "bob"]);
    terminal.types("New password: ", &format!("{PASSWORD}\r"));
    terminal.types("The same password again: ", &format!("{PASSWORD}\r"));
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen:?}");
    assert!(!screen.contains(PASSWORD), "{screen:?}");
    place.serve().login("bob");
}

#[test]
fn two_passwords_that_differ_change_nothing_and_the_sentence_says_so() {
    let place = Place::prepared();
    for args in [&["user", "add", "bob"][..], &["user", "passwd", "alice"]] {
        let mut terminal = Terminal::run(&place, args);
        terminal.types("New password: ", "a herd of quiet llamas\r");
        terminal.types("The same password again: ", "a herd of quiet lamas\r");
        let (code, screen) = terminal.end();
        assert_eq!(code, Some(1), "{screen:?}");
        assert!(screen.contains("keyward: the two passwords differ; nothing was changed"), "{screen:?}");
        assert!(!screen.contains("mas"), "{screen:?}");
    }
    place.run(&["user", "show", "bob"]).refused(1, &["bob"]);
    place.serve().login("alice");
}

#[test]
fn who_thinks_better_of_it_gets_the_terminal_back() {
    let place = Place::prepared();
    let mut terminal = Terminal::run(&place, &["user", "add", "bob"]);
    terminal.types("New password: ", "a herd of\x03");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(1), "{screen:?}");
    assert!(screen.contains("keyward: no password was given; nothing was changed"), "{screen:?}");
    assert!(!screen.contains("herd"), "{screen:?}");
    place.run(&["user", "show", "bob"]).refused(1, &["bob"]);
}
