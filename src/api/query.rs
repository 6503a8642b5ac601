//! Reading queries: what cannot be read is a sentence to the client, never a guess.

use axum::{extract::Query, http::Uri};
use serde::de::DeserializeOwned;

use super::error::Fault;

/// The query of `uri` as a `T`. Parameters that `T` does not know are ignored, as the agents ignore them.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Fault> {
    let parsed = Query::<T>::try_from_uri(uri);
    parsed.map(|Query(query)| query).map_err(|error| Fault::BadQuery { message: error.body_text() })
}

/// A number from 1 to `most`, or `usual` where nothing is said.
pub(super) fn limit(text: Option<&str>, usual: usize, most: usize) -> Result<usize, Fault> {
    let Some(text) = text else { return Ok(usual) };
    text.parse().ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| Fault::BadQuery {
        message: format!("limit must be a whole number from 1 to {most}, which {text:?} is not"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number_within_its_bounds() {
        assert_eq!(limit(None, 100, 1000).unwrap(), 100);
        assert_eq!(limit(Some("1000"), 100, 1000).unwrap(), 1000);
        for text in ["0", "-1", "1001", "", "ten", "1.5", "99999999999999999999999"] {
            assert!(matches!(limit(Some(text), 100, 1000), Err(Fault::BadQuery { .. })), "{text}");
        }
    }
}
