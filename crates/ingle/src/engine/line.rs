//! A line of the audit log between its beginning and its end.

use std::sync::Arc;

use crate::{
    data::Data,
    record::{Loaded, Op, Record},
    store::Replace,
};

/// A line that was begun.
#[derive(Clone)]
pub(crate) struct Line {
    pub(super) begun: Loaded,
    /// That of the commit that completes it with its act, however often it is sent.
    pub(super) op: Op,
}

impl Line {
    /// What is to be stored with the act.
    pub(crate) fn completed(&self, data: Data) -> Completed {
        Completed { begun: self.begun.clone(), record: next(&self.begun, data, self.op) }
    }
}

/// A line as it is once its act is done.
pub(crate) struct Completed {
    begun: Loaded,
    record: Arc<Record>,
}

impl Completed {
    pub(crate) fn write(&self) -> Replace<'_> {
        Replace { base: &self.begun, record: &self.record }
    }
}

/// Says what a line is after the last run of its act.
pub(crate) type LineOf = Box<dyn Fn() -> Completed + Send>;

/// The next record of a line.
pub(super) fn next(base: &Loaded, data: Data, op: Op) -> Arc<Record> {
    let mut header = base.record.header.clone();
    header.counter += 1;
    header.ops.push(op);
    Record { header, data }.into()
}

#[cfg(test)]
mod tests;
