use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::layers::{DEFAULTS, variable_name};
use super::*;

/// As the service takes it: an id and 32 bytes in base64url.
const KEY: &str = "m1 hushhushhushhushhushhushhushhushhushhushhus";

/// A file that is gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("keyward-config-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn with_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(Overrides::default(), variables(pairs))
}

fn with_flags(flags: &[(&'static str, &'static str, &str)]) -> Result<Config, ConfigErrors> {
    let mut args = Overrides::default();
    for (name, key, value) in flags {
        args.flag(name, key, *value);
    }
    Config::load(args, std::iter::empty())
}

fn with_file(path: &Path) -> Result<Config, ConfigErrors> {
    Config::load(
        Overrides { file: Some(path.to_owned()), flags: Vec::new(), listens_nowhere: false },
        std::iter::empty(),
    )
}

/// What the fuzz target does: any text as the configuration file.
fn with_text(text: &str) -> Result<Config, ConfigErrors> {
    Config::from_text(text)
}

fn source(config: &Config, key: &str) -> String {
    config.explain().into_iter().find(|setting| setting.key == key).unwrap().source.to_string()
}

#[test]
fn the_defaults_are_the_promised_ones() {
    let config = with_env(&[]).unwrap();
    assert_eq!(config.issuer, "http://localhost:8080");
    assert_eq!(config.audience, config.issuer);
    assert_eq!(config.master_key_file, Path::new("keys/master.key"));
    assert!(config.master_key.is_none() && !config.listen_explicit && config.ready_file.is_none());
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()]);
    assert_eq!(config.access.lifetime, Duration::from_secs(600));
    assert_eq!(config.session.idle, Duration::from_secs(14 * 86_400));
    assert_eq!(config.password.memory_kib, 19_456);
    assert_eq!(config.password.queue_memory, 64 << 20);
    assert_eq!(config.rotation.every, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.rotation.jwks_max_age, Duration::from_secs(300));
    assert_eq!(config.roles["user"], ["account:read", "account:manage"]);
    assert!(config.explain().iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn every_documented_setting_is_read_and_every_read_setting_is_documented() {
    // A setting without default or without reader would have left a sentence.
    let config = with_env(&[]).unwrap();
    let written = DEFAULTS.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
    assert_eq!(config.explain().len(), written);
}

#[test]
fn every_range_stands_in_the_comment_above_its_setting() {
    let mut section = String::new();
    let mut comment = String::new();
    let mut checked = 0;
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((name, _)) = line.split_once(" = ") {
            let key = format!("{section}{name}");
            assert!(
                comment.len() > 10 || section == "roles." || section == "limits.source.",
                "{key} is not explained"
            );
            let errors = with_env(&[(&variable_name(&key), "-1")]).err().map(|errors| errors.to_string());
            if let Some((_, range)) = errors.as_deref().and_then(|text| text.rsplit_once(" from ")) {
                let range = range.trim_end_matches('.');
                assert!(comment.contains(range), "{key}: `{range}` is not in `{comment}`");
                checked += 1;
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    assert!(checked > 25, "{checked}");
}

#[test]
fn the_defaults_laid_over_themselves_change_nothing() {
    let config = with_text(DEFAULTS).unwrap_err();
    // Only the empty secret cannot be set.
    assert_eq!(config.sentences.len(), 1, "{config}");
    let config = with_text(&DEFAULTS.replace("master_key = \"\"", "")).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", with_env(&[]).unwrap()));
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file =
        Scratch::new("layers", "[refresh]\ngrace = \"7s\"\n[access]\nlifetime = \"7m\"\nleeway = \"7s\"\n");
    let mut args = Overrides::default();
    args.flag("--grace", "refresh.grace", "9s");
    let path = file.0.to_str().unwrap();
    let pairs = [
        ("KEYWARD_CONFIG", path),
        ("KEYWARD_REFRESH__GRACE", "8s"),
        ("KEYWARD_ACCESS__LIFETIME", "8m"),
        ("OTHER", "x"),
    ];
    let config = Config::load(args, variables(&pairs)).unwrap();
    assert_eq!(config.refresh.grace, Duration::from_secs(9));
    assert_eq!(config.access.lifetime, Duration::from_secs(480));
    assert_eq!(config.access.leeway, Duration::from_secs(7));
    assert_eq!(source(&config, "refresh.grace"), "flag --grace");
    assert_eq!(source(&config, "access.lifetime"), "environment KEYWARD_ACCESS__LIFETIME");
    assert_eq!(source(&config, "access.leeway"), format!("file {path}"));
    assert_eq!(source(&config, "access.jitter_percent"), "default");
}

#[test]
fn the_flag_for_the_file_beats_its_variable() {
    let file = Scratch::new("named", "audience = \"a\"");
    let args = Overrides { file: Some(file.0.clone()), flags: Vec::new(), listens_nowhere: false };
    let config = Config::load(args, variables(&[("KEYWARD_CONFIG", "/nowhere.toml")])).unwrap();
    assert_eq!(config.audience, "a");
}

#[test]
fn lists_take_commas_and_repeated_flags_add_up() {
    let config = with_env(&[
        ("KEYWARD_HTTP__CORS_ORIGINS", "https://a.example, https://b.example"),
        ("KEYWARD_ADMIN_LISTEN", ""),
    ])
    .unwrap();
    assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
    assert!(config.admin_listen.is_empty());
    let config =
        with_flags(&[("--listen", "listen", "127.0.0.1:0"), ("--listen", "listen", "[::1]:0")]).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(config.listen_explicit);
}

#[test]
fn roles_are_free_names_and_replaced_one_by_one() {
    let config = with_text("[roles]\n\"a.b\" = [\"x\"]\nsupport = []\n").unwrap();
    assert_eq!(config.roles.keys().collect::<Vec<_>>(), ["a.b", "support", "user"]);
    let config =
        with_env(&[("KEYWARD_ROLES__USER", "account:read"), ("KEYWARD_ROLES__HELP_DESK", "a,b")]).unwrap();
    assert_eq!(config.roles["user"], ["account:read"]);
    assert_eq!(config.roles["help_desk"], ["a", "b"]);
}

#[test]
fn variables_of_tests_and_proofs_are_left_alone() {
    let pairs = [
        ("KEYWARD_TEST_ENGINES", "x"),
        ("KEYWARD_PROOF_ROUNDS", "3"),
        ("KEYWARD_BIN", "x"),
        ("keyward_x", ""),
    ];
    assert!(with_env(&pairs).is_ok());
    assert!(with_env(&[("KEYWARD_TEST_ENGINE", "x")]).is_err(), "a misspelt one is not left alone");
    assert_eq!(with_env(&[("KEYWARD_FAIL_AT", "x")]).is_ok(), cfg!(debug_assertions));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_refused_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let garbled = |name: &str| (OsString::from(name), OsString::from_vec(vec![0xff]));
    let load = |names: &[&str]| {
        Config::from_os(
            Overrides::default(),
            names.iter().map(|name| garbled(name)).collect::<Vec<_>>().into_iter(),
        )
    };
    assert!(load(&["PATH", "KEYWARD_PROOFS"]).is_ok());
    let errors = load(&["KEYWARD_CONFIG", "KEYWARD_DATA_DIR"]).unwrap_err();
    assert_eq!(errors.sentences[0], "the environment's `KEYWARD_CONFIG` is not UTF-8: write plain text.");
    assert_eq!(errors.sentences.len(), 2);
}

#[test]
fn every_refusal_is_a_sentence_with_key_value_source_and_advice() {
    for (name, value, expected) in [
        (
            "REFRESH__GRACE",
            "61s",
            "`refresh.grace` is `61s` (@): write a duration such as 500ms, 10s, 5m, 1h or 30d, from 0s to 1m.",
        ),
        (
            "ROTATION__EVERY",
            "never",
            "`rotation.every` is `never` (@): write a duration such as 500ms, 10s, 5m, 1h or 30d, from 1m to 3650d.",
        ),
        ("PASSWORD__MIN_LENGTH", "7", "`password.min_length` is `7` (@): write a number from 8 to 128."),
        (
            "PASSWORD__MIN_LENGTH",
            "long",
            "`password.min_length` is `long` (@): write a whole number, such as 12.",
        ),
        (
            "PASSWORD__QUEUE_MEMORY",
            "1MB",
            "`password.queue_memory` is `1MB` (@): write a size from 1MiB to 1024GiB.",
        ),
        ("SIGNING__RSA_BITS", "1024", "`signing.rsa_bits` is `1024` (@): write 2048, 3072 or 4096."),
        ("ACCESS__LIFETIME", "61500ms", "`access.lifetime` is `61500ms` (@): write whole seconds."),
        ("ACCESS__JITTER_PERCENT", "21", "`access.jitter_percent` is `21` (@): write a number from 0 to 20."),
        ("LOG__FORMAT", "xml", "`log.format` is `xml` (@): write text or json."),
        (
            "LOG__LEVEL",
            "inof",
            "`log.level` is `inof` (@): write error, warn, info, debug, trace, off, or such levels per target like `warn,keyward=debug`.",
        ),
        (
            "ISSUER",
            "http://auth.example",
            "`issuer` is `http://auth.example` (@): write https; plain http is only for localhost.",
        ),
        (
            "ISSUER",
            "https://me:secret@auth.example",
            "`issuer` is `https://***@auth.example` (@): leave out user and password.",
        ),
        ("ISSUER", "", "`issuer` is `\"\"` (@): begin with https://."),
        (
            "LISTEN",
            "localhost:80",
            "`listen` is `[localhost:80]` (@): for `localhost:80`, write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080.",
        ),
        ("LISTEN", "", "`listen` is `[]` (@): name at least one address."),
        ("LISTEN", "[::1]:1,[::1]:1", "`listen` is `[[::1]:1, [::1]:1]` (@): name each address once."),
        (
            "LISTEN",
            "0.0.0.0:80",
            "`listen` is `[0.0.0.0:80]` (@) and `issuer` is `http://localhost:8080` (default): others cannot reach an issuer on localhost; set `issuer` to the public https URL, or listen on loopback.",
        ),
        (
            "LISTEN",
            "127.0.0.1:8081",
            "`listen` is `[127.0.0.1:8081]` (@) and `admin_listen` is `[127.0.0.1:8081, [::1]:8081]` (default): they share an address and port; change one of them.",
        ),
        (
            "HTTP__CORS_ORIGINS",
            "*",
            "`http.cors_origins` is `[*]` (@): for `*`, list each origin; `*` would let the pages of every site use the tokens of their visitors.",
        ),
        (
            "HTTP__TRUSTED_PROXIES",
            "10.0.0.1/8",
            "`http.trusted_proxies` is `[10.0.0.1/8]` (@): for `10.0.0.1/8`, set the bits behind the prefix to zero.",
        ),
        (
            "HTTP__TRUSTED_PROXIES",
            "::/0",
            "`http.trusted_proxies` is `[::/0]` (@): for `::/0`, name the proxies; who trusts every address lets anybody choose theirs.",
        ),
        (
            "HTTP__BODY_TIMEOUT",
            "11s",
            "`http.body_timeout` is `11s` (@) and `http.request_timeout` is `10s` (default): a body may not take longer than its request; lower the first or raise the other.",
        ),
        (
            "AUDIENCE",
            "a b",
            "`audience` is `a b` (@): write at most 256 visible ASCII characters, or leave it empty for the issuer.",
        ),
        ("DATA_DIR", "", "`data_dir` is `\"\"` (@): write a path."),
        (
            "KEYS_DIR",
            "data/../data/keys",
            "`keys_dir` is `data/../data/keys` (@) and `data_dir` is `data` (default): a copy of the data must not carry its keys; move one of them.",
        ),
        (
            "MASTER_KEY_FILE",
            "data/m",
            "`master_key_file` is `data/m` (@) and `data_dir` is `data` (default): a copy of the data must not carry its keys; move one of them.",
        ),
        (
            "MASTER_KEY",
            " ",
            "`master_key` is `[redacted]` (@): give the secret or its file as `master_key_file`, or remove it.",
        ),
        (
            "MASTER_KEY",
            "abc",
            "`master_key` is `[redacted]` (@): line 1 does not have two words; write lines of `id key`, the key being 32 bytes in base64url.",
        ),
        (
            "MASTER_KEY",
            "m1 abcd",
            "`master_key` is `[redacted]` (@): line 1 has a key that is not 32 bytes; write lines of `id key`, the key being 32 bytes in base64url.",
        ),
        (
            "SESSION__IDLE",
            "91d",
            "`session.idle` is `91d` (@) and `session.absolute` is `90d` (default): the idle time must not exceed the absolute one; lower the first or raise the other.",
        ),
        (
            "SESSION__IDLE",
            "9m",
            "`access.lifetime` is `10m` (default) and `session.idle` is `9m` (@): a session would end before its token needs a refresh; lower the first or raise the other.",
        ),
        (
            "ACCESS__LIFETIME",
            "61m",
            "`access.lifetime` is `61m` (@) and `access.max_lifetime` is `1h` (default): no token may live longer than the longest lifetime; lower the first or raise the other.",
        ),
        (
            "ACCESS__LIFETIME",
            "10s",
            "`refresh.grace` is `10s` (default) and `access.lifetime` is `10s` (@): twice the grace must fit into what jitter leaves of the lifetime; lower the first or raise the other.",
        ),
        (
            "LIMITS__ACCOUNT__FIRST_DELAY",
            "31s",
            "`limits.account.first_delay` is `31s` (@) and `limits.account.max_delay` is `30s` (default): the first delay must not exceed the longest; lower it or raise the other.",
        ),
        (
            "LIMITS__SOURCE__FORGET",
            "59s",
            "`limits.source.forget` is `59s` (@) and `limits.source.max_delay` is `60s` (default): a failure must not be forgotten before its delay is over; raise the first or lower the other.",
        ),
        (
            "PASSWORD__DEADLINE",
            "11s",
            "`password.deadline` is `11s` (@) and `http.request_timeout` is `10s` (default): a request would time out before its password is hashed; lower the first or raise the other.",
        ),
        (
            "ROTATION__EVERY",
            "23h",
            "`rotation.every` is `23h` (@) and `rotation.lead` is `24h` (default): a key cannot be replaced before its successor was published for that long; raise the first or lower the other.",
        ),
        (
            "ROTATION__LEAD",
            "71m",
            "`rotation.lead` is `71m` (@) and `lease` is `1h` (default) and `jwks.max_age` is `300s` (default) and `verifier_poll` is `60s` (default) and `clock_skew` is `60s` (default): raise the first to at least 72m (lease + 2 x jwks.max_age + verifier_poll + clock_skew), or lower the others.",
        ),
        (
            "ROLES__USER",
            "a\"b",
            "`roles.user` is `[a\"b]` (@): `a\"b` is not a scope; use visible ASCII characters without quotes and backslashes.",
        ),
        (
            "REFRESH__GRASE",
            "1s",
            "the environment's `KEYWARD_REFRESH__GRASE` is not a setting: the nearest one is `KEYWARD_REFRESH__GRACE`.",
        ),
        (
            "QWERTYUIOP",
            "1s",
            "the environment's `KEYWARD_QWERTYUIOP` is not a setting: remove it, or find the right name with `keyward config show`.",
        ),
    ] {
        let name = format!("KEYWARD_{name}");
        let errors = with_env(&[(&name, value)]).unwrap_err();
        assert_eq!(errors.sentences, [expected.replace("(@)", &format!("(environment {name})"))]);
    }
}

#[test]
fn a_file_is_refused_by_name_and_kind() {
    for (text, expected) in [
        ("isuer = \"x\"", "`isuer` (@) is not a setting: the nearest one is `issuer`."),
        ("[refesh]\ngrace = \"1s\"", "`refesh` (@) is not a setting: the nearest one is `refresh`."),
        (
            "[refresh]\ngrase = \"1s\"",
            "`refresh.grase` (@) is not a setting: the nearest one is `refresh.grace`.",
        ),
        (
            "\"refresh.grace\" = \"1s\"",
            "`refresh.grace` (@) is not a setting: the nearest one is `refresh.grace`.",
        ),
        ("refresh = 3", "`refresh` (@) is a section: write `[refresh]` and its settings below it."),
        ("[issuer]", "`issuer` is a table (@): write text in quotes, such as \"http://localhost:8080\"."),
        ("[refresh]\ngrace = 10", "`refresh.grace` is `10` (@): write text in quotes, such as \"10s\"."),
        (
            "listen = \"127.0.0.1:1\"",
            "`listen` is `\"127.0.0.1:1\"` (@): write a list of texts, such as [\"a\", \"b\"].",
        ),
        ("listen = [1]", "`listen` is a mixed list (@): write a list of texts, such as [\"a\", \"b\"]."),
        ("[roles]\nx = 1", "`roles.x` is `1` (@): write a list of texts, such as [\"a\", \"b\"]."),
        (
            "[roles]\n\"x y\" = []",
            "`roles.x y` is `[]` (@): name the role with at most 64 letters, digits, dots, colons, hyphens or underscores.",
        ),
        ("master_key = 123456", "`master_key` is something else than text (@): write text in quotes."),
        (
            "[http]\nmax_connections = 1.5",
            "`http.max_connections` is `1.5` (@): write a whole number, such as 4096.",
        ),
    ] {
        let errors = with_text(text).unwrap_err();
        assert_eq!(errors.sentences, [expected.replace("(@)", "(file (text))")]);
    }
    let broken = with_text("a = 1\nb = \n").unwrap_err().to_string();
    assert!(broken.starts_with("line 2 of `(text)` is not TOML"), "{broken}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_the_one_who_named_it() {
    let named = with_file(Path::new("/nowhere/k.toml")).unwrap_err().to_string();
    assert!(
        named.starts_with("the configuration file `/nowhere/k.toml` (flag --config) cannot be read"),
        "{named}"
    );
    let named = with_env(&[("KEYWARD_CONFIG", "/nowhere/k.toml")]).unwrap_err().to_string();
    assert!(named.contains("(environment KEYWARD_CONFIG)"), "{named}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let errors = with_env(&[
        ("KEYWARD_REFRESH__GRACE", "x"),
        ("KEYWARD_AUDIT__KEEP", "x"),
        ("KEYWARD_NONSENSE", "x"),
        ("KEYWARD_SESSION__IDLE", "91d"),
    ]);
    assert_eq!(errors.unwrap_err().sentences.len(), 4);
}

#[test]
fn a_refused_value_is_not_judged_again_by_the_rules() {
    let errors =
        with_env(&[("KEYWARD_ACCESS__LIFETIME", "x"), ("KEYWARD_PASSWORD__MEMORY_KIB", "x")]).unwrap_err();
    assert_eq!(errors.sentences.len(), 2, "{errors}");
}

#[test]
fn a_flag_never_carries_a_secret_or_an_unknown_setting() {
    let errors = with_flags(&[("--master-key", "master_key", "hush"), ("--x", "x.y", "hush")]).unwrap_err();
    assert_eq!(
        errors.sentences,
        [
            "`master_key` (flag --master-key) is a secret: give it as `master_key_file`.",
            "`x.y` (flag --x) is not a setting: leave the flag out.",
        ]
    );
}

#[test]
fn the_master_key_comes_as_text_or_as_a_file_but_not_both() {
    let errors = with_env(&[("KEYWARD_MASTER_KEY", KEY), ("KEYWARD_MASTER_KEY_FILE", "/run/k")]).unwrap_err();
    assert_eq!(
        errors.sentences,
        ["`master_key` is `[redacted]` (environment KEYWARD_MASTER_KEY) and `master_key_file` is `/run/k` \
          (environment KEYWARD_MASTER_KEY_FILE): both name the master key; remove one of them."]
    );
    let config = with_env(&[("KEYWARD_MASTER_KEY", &format!(" {KEY}\n"))]).unwrap();
    assert_eq!(config.master_key.as_ref().unwrap().expose(), KEY);
    let file = Scratch::new("secret", "  from a file \n");
    assert_eq!(SecretText::from_file(&file.0).unwrap().expose(), "from a file");
    let empty = Scratch::new("empty", " \n");
    assert!(SecretText::from_file(&empty.0).is_err());
}

#[test]
fn no_secret_is_shown() {
    let config = with_env(&[("KEYWARD_MASTER_KEY", KEY)]).unwrap();
    assert!(!format!("{config:?} {:?}", config.explain()).contains("hush"));
    assert!(!with_env(&[("KEYWARD_MASTER_KEY", "hush-hush")]).unwrap_err().to_string().contains("hush"));
    let text = "master_key = \"hush-hush\"\nmaster_key_file = \"k\"\nissuer = \"x\"";
    assert!(!with_text(text).unwrap_err().to_string().contains("hush"));
    assert!(!with_text("master_key = [\"hush-hush\"]").unwrap_err().to_string().contains("hush"));
    assert!(!with_text("master_kye = \"hush-hush\"").unwrap_err().to_string().contains("hush"));
    assert!(!with_text("master_key = \"hush-hush").unwrap_err().to_string().contains("hush"));
}

#[test]
fn rotation_can_be_off() {
    assert_eq!(with_env(&[("KEYWARD_ROTATION__EVERY", "off")]).unwrap().rotation.every, None);
}

#[test]
fn a_public_listener_is_fine_once_the_issuer_is_set() {
    let pairs = [("KEYWARD_LISTEN", "0.0.0.0:8080"), ("KEYWARD_ISSUER", "https://auth.example")];
    assert_eq!(with_env(&pairs).unwrap().audience, "https://auth.example");
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "\\PC{0,200}") {
        let _ = with_text(&text);
    }

    #[test]
    fn no_value_makes_it_panic(lines in prop::collection::vec((0usize..70, "[-0-9a-z\"\\[\\]{}.,:/*% ]{0,20}"), 0..6)) {
        let keys: Vec<_> = with_env(&[]).unwrap().explain().into_iter().map(|setting| setting.key).collect();
        let line = |(at, value): &(usize, String)| format!("{} = {value}\n", keys[at % keys.len()]);
        let _ = with_text(&lines.iter().map(line).collect::<String>());
        let pairs: Vec<_> = lines.iter().map(|(at, value)| (variable_name(&keys[at % keys.len()]), value.clone())).collect();
        let _ = Config::load(Overrides::default(), pairs.into_iter());
    }
}
