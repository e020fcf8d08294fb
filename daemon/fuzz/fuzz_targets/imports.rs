//! Any bytes as the journal of imports: places that go together, no more origins than a vector has.
#![no_main]

use askrd::hub::import_journal::ImportJournal;
use libfuzzer_sys::fuzz_target;
use shared::cursor::Epoch;
use shared::vector::Vector;

fuzz_target!(|data: &[u8]| {
    let epoch = Epoch([9; 6]);
    // The header is a valid one, so that what matters is read.
    let mut text = b"askrimp1".to_vec();
    text.extend(epoch.0);
    text.extend([0; 10]);
    text.extend(data);
    let journal = ImportJournal::of("unused".into(), Some(&text), epoch, 0);
    assert!(journal.known().count() <= Vector::MAX_ORIGINS);
    for known in journal.known() {
        assert!(known.start <= known.base && known.base <= known.have());
        let ascends = known
            .notes
            .windows(2)
            .all(|two| two[0].position < two[1].position && two[0].local < two[1].local);
        assert!(ascends);
    }
});
