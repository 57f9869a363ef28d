//! A lock is taken in one way: by `parking_lot`, whose locks are not poisoned by a thread that panicked. The spool's own
//! waits for conditions of the standard library, and has its door in `shared.rs`.

use crate::tree::TextFile;

/// Files of the spool that wait for conditions.
const WAITS: [&str; 3] = [
    "crates/stages/spool/src/shared.rs",
    "crates/stages/spool/src/keeper.rs",
    "crates/stages/spool/src/indexer.rs",
];

/// Tools, which the product does not contain.
const DEV: &str = "crates/dev/";

/// Files that take locks of the standard library.
pub(crate) fn check(files: &[TextFile]) -> Vec<String> {
    let of_product = |f: &&TextFile| f.path.starts_with("crates/") && !f.path.starts_with(DEV);
    let product = files.iter().filter(of_product);
    let product = product.filter(|f| f.is_rust() && !f.is_test());
    product
        .filter(|f| {
            f.production().contains("PoisonError")
                && !WAITS.iter().any(|waits| f.path.ends_with(waits))
        })
        .map(|f| {
            format!(
                "{}: take locks by parking_lot, which has no PoisonError",
                f.path.display()
            )
        })
        .collect()
}
