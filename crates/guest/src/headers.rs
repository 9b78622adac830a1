//! The fields of a request's head, in the order received. Values are what the caller sent: never believed, never logged.

/// Header fields. Names compare without case; a name may stand several times.
#[derive(Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Takes the fields over in the order received.
    pub const fn new(fields: Vec<(String, Vec<u8>)>) -> Self {
        Self(fields)
    }

    /// Every value of `name`, in the order received.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The values of `name` as text; a value that is no UTF-8 reads as empty, which no rule takes for anything.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.all(name).map(|value| std::str::from_utf8(value).unwrap_or_default())
    }

    /// The only value of `name`: `Ok(None)` where there is none, `Err` where there are several.
    ///
    /// # Errors
    /// [`Doubled`] where the name stands more than once.
    pub fn single<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, Doubled> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Doubled),
        }
    }
}

/// A field that may stand once stands several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubled;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_order_is_kept() {
        let headers = Headers::new(vec![
            ("Spin-Client-Addr".into(), b"forged".to_vec()),
            ("x-other".into(), vec![0xff]),
            ("spin-client-addr".into(), b"real".to_vec()),
        ]);
        assert_eq!(headers.texts("spin-client-addr").collect::<Vec<_>>(), ["forged", "real"]);
        assert_eq!(headers.texts("x-other").next(), Some(""));
        assert_eq!(headers.single("spin-client-addr"), Err(Doubled));
        assert_eq!(headers.single("absent"), Ok(None));
    }
}
