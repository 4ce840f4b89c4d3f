use super::*;
use crate::{engine::policy::Policy, id::Key, record::Version};

#[test]
fn each_record_of_a_line_counts_one_commit_more_and_knows_its_op() {
    let [begun, completed] = [1, 2].map(Op::from_bits);
    let key = Key::from_bytes([1; 32]);
    let record = Policy::default().record_of_user(key, begun, Data::new()).unwrap();
    let base = Loaded { record: record.into(), version: Version(1) };
    let next = next(&base, Data::new(), completed);
    assert!(base.record.header.only_moves(&next.header));
    assert_eq!(next.header.counter, base.record.header.counter + 1);
    assert_eq!(next.header.ops.iter().collect::<Vec<_>>(), [begun, completed]);
}
