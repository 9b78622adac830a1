//! The one door to the repository: build, run, lint, test and measure Keyward.

fn main() {}
