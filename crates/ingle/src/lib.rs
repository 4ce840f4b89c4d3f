//! Foundation.
pub mod clock;
pub mod data;
pub mod id;
pub mod record;
pub mod store;
