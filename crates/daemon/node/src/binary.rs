//! Mail with a binary body (RFC 3030) for those who take lines only: stores and reports of ours. What
//! leaves is converted for each host (`converse.rs`).

use std::sync::Arc;

use bytes::Bytes;
use config::Config;
use deliver::{Conversion, Obstacle, Signatures};
use mail::{BodyType, Message, Ret, Timestamp};

use crate::signing;

/// The content in lines, where it has a binary body; what is signed is signed as of `now`.
///
/// # Errors
/// What stands in the way.
pub fn in_lines(config: &Config, message: &Message, now: Timestamp) -> Result<Bytes, Obstacle> {
    match message.envelope.body_type {
        BodyType::SevenBit | BodyType::EightBitMime => Ok(message.content.clone()),
        BodyType::BinaryMime => {
            signing::converted(config, &message.content, Conversion::Lines, now).map(|c| c.content)
        }
    }
}

/// The message as a report returns it: in lines, or as its header only.
pub fn to_return(message: &Arc<Message>) -> Arc<Message> {
    match message.envelope.body_type {
        BodyType::SevenBit | BodyType::EightBitMime => return Arc::clone(message),
        BodyType::BinaryMime => {}
    }
    let mut copy = Message::clone(message);
    let lines = deliver::convert(&message.content, Conversion::Lines, Signatures::MayBreak);
    match lines {
        Ok(lines) => {
            copy.envelope.body_type = lines.body_type(BodyType::BinaryMime);
            copy.content = lines.content;
        }
        Err(_) => copy.envelope.ret = Some(Ret::Headers),
    }
    Arc::new(copy)
}
