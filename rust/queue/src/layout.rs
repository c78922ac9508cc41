//! The queue's directory: what is where, and what was promised when it was made.
//!
//! ```text
//! lock        held by the owning process, names it
//! layout      format version, partition count, topics in the order of their numbers
//! log/        append topics and committed offsets (raft-engine)
//! compacted/  compacted topics (fjall)
//! cut/        what recovery cut from log files, if anything
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use postalynk_record::TopicKind;

use crate::files::sync_directory;
use crate::options::{Options, TopicSpec};

const FORMAT: &str = "postalynk-queue 1";

/// Compares the layout of an existing queue with the options; writes it for a new one or when
/// topics were added.
pub(crate) fn agree(options: &Options) -> Result<(), String> {
    let partitions = options.partitions;
    if !partitions.is_power_of_two() || partitions > postalynk_record::SLOTS {
        return Err(format!(
            "{partitions} partitions: a power of two up to {} expected",
            postalynk_record::SLOTS
        ));
    }
    let wanted = text(partitions, &options.topics);
    let path = options.path.join("layout");
    match std::fs::read_to_string(&path) {
        Ok(found) if wanted == found => Ok(()),
        Ok(found) if wanted.starts_with(&found) && found.ends_with('\n') => write(&path, &wanted),
        Ok(found) => Err(format!(
            "it was made with another layout; it has\n{found}and the settings ask for\n{wanted}\
             the partition count cannot be changed, and topics only be added at the end"
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write(&path, &wanted),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn text(partitions: u32, topics: &[TopicSpec]) -> String {
    let mut text = format!("{FORMAT}\npartitions {partitions}\n");
    for topic in topics {
        let kind = match topic.kind {
            TopicKind::Append => "append",
            TopicKind::Compacted => "compacted",
        };
        writeln!(text, "{kind} {}", topic.name).expect("writing to a string cannot fail");
    }
    text
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let new = path.with_extension("new");
    let durably = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_directory(path.parent().unwrap_or(path))
    };
    durably().map_err(|error| format!("{}: {error}", path.display()))
}
