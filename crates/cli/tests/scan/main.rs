//! `keyward scan` as a person or a pipeline runs it, over trees and repositories that are made here. Whatever is to be found is put
//! together when a test runs, so that no scanner finds it in this file.

#[cfg(test)]
mod found;
#[cfg(test)]
mod place;
#[cfg(test)]
mod redacted;
