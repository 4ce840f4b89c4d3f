//! How long each kind of request takes, and what it takes from the heap. Allocations are counted on the
//! thread that runs the request, which is the only one.

use std::cell::RefCell;

use bench_requests::{Kind, Subject};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = Kind::ALL)]
fn request(bencher: Bencher<'_, '_>, kind: Kind) {
    let subject = RefCell::new(Subject::new(kind));
    let ready = || subject.borrow().ready();
    bencher.with_inputs(ready).bench_local_values(|ready| subject.borrow_mut().send(ready));
}
