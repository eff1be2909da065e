use zeroize::Zeroize;

/// Holds a plaintext or a key: it cannot be printed, copied or serialised, and is overwritten with zeros when
/// dropped.
///
/// ```compile_fail,E0277
/// println!("{:?}", keyward_envelope::Secret::new(vec![1_u8])); // no Debug
/// ```
/// ```compile_fail,E0277
/// println!("{}", keyward_envelope::Secret::new(String::new())); // no Display
/// ```
/// ```compile_fail,E0599
/// let _ = keyward_envelope::Secret::new(String::new()).clone(); // no Clone
/// ```
/// ```
/// assert_eq!(keyward_envelope::Secret::new(String::from("visible")).expose(), "visible");
/// ```
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value; every place where a secret is read can be found by this name.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Witness(Rc<Cell<bool>>);

    impl Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_dropped_secret_is_overwritten() {
        let wiped = Rc::new(Cell::new(false));
        let secret = Secret::new(Witness(Rc::clone(&wiped)));
        assert!(!secret.expose().0.get());
        drop(secret);
        assert!(wiped.get());
    }
}
