//! Any bytes as a node's state: refused, or a state that is encoded to one that says the same.
#![no_main]

use cluster::node_state::{MAX_NAME, NodeState};
use libfuzzer_sys::fuzz_target;
use shared::cursor::Cursor;

fuzz_target!(|data: &[u8]| {
    let Ok(state) = NodeState::decode(data) else {
        return;
    };
    assert!(state.start <= state.last && state.last <= state.through);
    assert!(state.through < Cursor::END);
    assert!(state.name.len() <= MAX_NAME && !state.name.contains(char::is_control));
    let bytes = state.encode();
    assert_eq!(NodeState::decode(&bytes), Ok(state));
});
