//! The tests of `ingle` from outside, in one program.

mod broken;
mod faulty;
mod stores;
