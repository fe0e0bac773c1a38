//! CSV records of a text in memory, from any of them on.

use std::cell::Cell;

use csv_core::{ReadRecordResult, Reader};

thread_local! {
    /// A parser that nobody uses: to make one takes longer than to find a row with it, and its clones do not parse.
    static SPARE: Cell<Option<Box<Reader>>> = const { Cell::new(None) };
}

/// Records that are gone over one after the other.
#[derive(Debug)]
pub(super) struct Records<'a> {
    parser: Box<Reader>,
    rest: &'a [u8],
    /// The fields of the record at hand, one after the other; what comes after them is room.
    text: Vec<u8>,
    /// Where each of them ends, and room.
    ends: Vec<usize>,
    fields: usize,
}

impl Records<'_> {
    /// Has `read` go over the records of `text`, which begins where one does.
    pub(super) fn of<T>(text: &[u8], read: impl FnOnce(&mut Records<'_>) -> T) -> T {
        let mut parser = SPARE.take().unwrap_or_else(|| Box::new(Reader::new()));
        parser.reset();
        // An empty line, which is no record: at its beginning the parser would drop what looks like the byte order
        // mark of a file.
        let _ = parser.read_record(b"\n", &mut [0], &mut [0]);
        let mut records = Records {
            parser,
            rest: text,
            text: vec![0; 256],
            ends: vec![0; 8],
            fields: 0,
        };
        let result = read(&mut records);
        SPARE.set(Some(records.parser));
        result
    }

    /// Goes to the next record; whether there is one.
    pub(super) fn advance(&mut self) -> bool {
        let (mut length, mut fields) = (0, 0);
        loop {
            let room = (&mut self.text[length..], &mut self.ends[fields..]);
            let (result, read, written, ended) = self.parser.read_record(self.rest, room.0, room.1);
            self.rest = &self.rest[read..];
            length += written;
            fields += ended;
            match result {
                // Asked once more, with nothing left, the parser ends the record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => {
                    self.fields = fields;
                    return true;
                }
                ReadRecordResult::End => {
                    self.fields = 0;
                    return false;
                }
            }
        }
    }

    /// A field of the record at hand, where it has so many and the field is UTF-8.
    pub(super) fn field(&self, place: usize) -> Option<&str> {
        let ends = &self.ends[..self.fields];
        let end = *ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| ends[before]);
        std::str::from_utf8(self.text.get(start..end)?).ok()
    }
}
