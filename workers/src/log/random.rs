//! Ids of clusters and topics, drawn from the operating system. Touches neither disk nor network.

use logpipe_api::hex;

/// 32 hex digits that nobody has drawn before.
pub(super) fn id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_ids_are_the_same() {
        let (one, two) = (super::id().unwrap(), super::id().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
