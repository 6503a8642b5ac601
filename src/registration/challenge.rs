//! How the daemon proves that it is the one which wrote `registration.json`.
//!
//! The proof covers the daemon's URL, so that whoever holds another port cannot have the true daemon answer in its
//! stead: the plugin checks the proof against the URL that it connects to.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// What a nonce may be: so many hexadecimal digits. Fewer could be guessed, more are of no use.
const NONCE: std::ops::RangeInclusive<usize> = 16..=128;

/// Whether `nonce` is one that is answered.
pub fn is_nonce(nonce: &str) -> bool {
    NONCE.contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The HMAC-SHA256 of what was asked, in hexadecimal digits; the key is the secret's text. `None` if `nonce` is none.
pub fn proof(secret: &Secret, nonce: &str, url: &str) -> Option<String> {
    if !is_nonce(nonce) {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(b"pointsman challenge\n");
    mac.update(nonce.as_bytes());
    mac.update(b"\n");
    mac.update(url.as_bytes());
    Some(hexadecimal(&mac.finalize().into_bytes()))
}

/// `bytes` in lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_what_any_other_implementation_computes() {
        // printf 'pointsman challenge\n%s\n%s' NONCE URL | openssl dgst -sha256 -hmac SECRET
        let secret = Secret::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        let told = proof(&secret, "00112233445566778899aabbccddeeff", "http://127.0.0.1:4747").unwrap();
        assert_eq!(told, "ebf3b9bafdf0d0fdc0b0f15263e5f6ea24d6e4d06ceeeedc65eae62ee4c1f278");
        let elsewhere = proof(&secret, "00112233445566778899aabbccddeeff", "http://127.0.0.1:4748").unwrap();
        assert_ne!(elsewhere, told);
    }

    #[test]
    fn a_nonce_has_16_to_128_hexadecimal_digits() {
        for (nonce, is) in [
            ("a".repeat(16), true),
            ("F0".repeat(64), true),
            ("a".repeat(15), false),
            ("a".repeat(129), false),
            ("g".repeat(32), false),
            (format!("{}\n", "a".repeat(20)), false),
            (String::new(), false),
        ] {
            assert_eq!(is_nonce(&nonce), is, "{nonce}");
        }
    }
}
