//! The `roomkey` command.

fn main() {}
