//! Arithmetic on big-endian numbers, slow and simple, for signatures that no library makes.

/// `base` to the `exponent` modulo an odd `modulus`, as long as the modulus without its leading zeros.
pub(super) fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let field = Field::new(modulus);
    let base = field.enter(&field.digits(base));
    let mut result = field.enter(&field.digits(&[1]));
    for bit in exponent.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        result = field.product(&result, &result);
        if bit == 1 {
            result = field.product(&result, &base);
        }
    }
    let plain = field.product(&result, &field.digits(&[1]));
    let bytes: Vec<u8> = plain.iter().rev().flat_map(|digit| digit.to_be_bytes()).collect();
    let length = modulus.iter().skip_while(|byte| **byte == 0).count();
    bytes[bytes.len() - length..].to_vec()
}

/// `a` + `b`, one byte longer than the longer of them if it must be.
pub(super) fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut digits, mut carry) = (Vec::new(), 0);
    let (mut a, mut b) = (a.iter().rev(), b.iter().rev());
    loop {
        let (x, y) = (a.next(), b.next());
        if x.is_none() && y.is_none() {
            break;
        }
        let digit = u16::from(*x.unwrap_or(&0)) + u16::from(*y.unwrap_or(&0)) + carry;
        digits.push(digit as u8);
        carry = digit >> 8;
    }
    if carry > 0 {
        digits.push(1);
    }
    digits.reverse();
    digits
}

/// `a` − `b` for equally long numbers of which `b` is not larger.
pub(super) fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = a.to_vec();
    let mut borrow = 0;
    for (digit, b) in digits.iter_mut().rev().zip(b.iter().rev()) {
        let rest = i16::from(*digit) - i16::from(*b) - borrow;
        borrow = i16::from(rest < 0);
        *digit = rest as u8;
    }
    digits
}

/// Montgomery's multiplication modulo an odd number; digits are little-endian.
struct Field {
    modulus: Vec<u64>,
    /// The negated inverse of the modulus, modulo 2^64.
    inverse: u64,
}

impl Field {
    fn new(modulus: &[u8]) -> Self {
        let bytes: Vec<u8> = modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
        let modulus: Vec<u64> = little_endian(&bytes);
        let low = modulus[0];
        // Newton's iteration doubles the good bits; an odd number is its own inverse modulo 8.
        let inverse = (0..5).fold(low, |x, _| x.wrapping_mul(2_u64.wrapping_sub(low.wrapping_mul(x))));
        Self { modulus, inverse: inverse.wrapping_neg() }
    }

    fn digits(&self, number: &[u8]) -> Vec<u64> {
        let mut digits = little_endian(number);
        digits.resize(self.modulus.len(), 0);
        digits
    }

    /// The number times 2^64 for every digit of the modulus, by doubling.
    fn enter(&self, number: &[u64]) -> Vec<u64> {
        let mut value = number.to_vec();
        for _ in 0..64 * self.modulus.len() {
            let mut carry = 0;
            for digit in &mut value {
                (*digit, carry) = (*digit << 1 | carry, *digit >> 63);
            }
            self.reduce(&mut value, carry);
        }
        value
    }

    fn product(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let size = self.modulus.len();
        let mut total = vec![0_u64; size + 2];
        for digit in a {
            add_multiple(&mut total, b, *digit);
            let factor = total[0].wrapping_mul(self.inverse);
            add_multiple(&mut total, &self.modulus, factor);
            total.rotate_left(1);
        }
        let carry = total[size];
        total.truncate(size);
        self.reduce(&mut total, carry);
        total
    }

    /// Subtracts the modulus once if the value, with a digit above, is not below it.
    fn reduce(&self, value: &mut [u64], above: u64) {
        if above == 0 && value.iter().rev().lt(self.modulus.iter().rev()) {
            return;
        }
        let mut borrow = 0;
        for (digit, modulus) in value.iter_mut().zip(&self.modulus) {
            let rest = i128::from(*digit) - i128::from(*modulus) - borrow;
            borrow = i128::from(rest < 0);
            *digit = rest as u64;
        }
    }
}

fn add_multiple(total: &mut [u64], number: &[u64], factor: u64) {
    let mut carry = 0_u128;
    let (low, high) = total.split_at_mut(number.len());
    for (digit, n) in low.iter_mut().zip(number) {
        carry += u128::from(*digit) + u128::from(*n) * u128::from(factor);
        *digit = carry as u64;
        carry >>= 64;
    }
    for digit in high {
        carry += u128::from(*digit);
        *digit = carry as u64;
        carry >>= 64;
    }
}

fn little_endian(number: &[u8]) -> Vec<u64> {
    number.rchunks(8).map(|chunk| chunk.iter().fold(0, |digit, byte| digit << 8 | u64::from(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_machine_numbers() {
        let modulus = 0xffff_ffff_ffff_ffc5_u64;
        let mut expected = 1_u128;
        for _ in 0..1000 {
            expected = expected * 0x1234_5678_9abc_def1 % u128::from(modulus);
        }
        let power =
            power(&0x1234_5678_9abc_def1_u64.to_be_bytes(), &1000_u16.to_be_bytes(), &modulus.to_be_bytes());
        assert_eq!(power, (expected as u64).to_be_bytes());
    }

    #[test]
    fn sums_and_differences_carry() {
        assert_eq!(sum(&[0xff, 0xff], &[1]), [1, 0, 0]);
        assert_eq!(difference(&[1, 0, 0], &[0, 0, 1]), [0, 0xff, 0xff]);
    }
}
