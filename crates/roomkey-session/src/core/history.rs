//! The messages that are kept, in order, and what happened to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::message::{AttachmentStatus, Message, MessageEvent, MessageId, Status};

/// A message's place. Places are given in the order in which messages are begun, and are never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(i64);

pub(crate) struct History {
    limit: usize,
    messages: BTreeMap<Place, Arc<Message>>,
    places: HashMap<MessageId, Place>,
    /// What the messages weigh, in bytes.
    weight: usize,
    next: i64,
    first: i64,
    events: VecDeque<MessageEvent>,
    has_changed: bool,
}

impl History {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            messages: BTreeMap::new(),
            places: HashMap::new(),
            weight: 0,
            next: 0,
            first: 0,
            events: VecDeque::new(),
            has_changed: false,
        }
    }

    /// The next place, for a message that has begun and may have no text yet.
    pub(crate) fn reserve(&mut self) -> Place {
        self.next += 1;
        Place(self.next - 1)
    }

    pub(crate) fn get(&self, id: &MessageId) -> Option<&Arc<Message>> {
        self.messages.get(self.places.get(id)?)
    }

    /// Messages, the newest first, back to this place.
    pub(crate) fn since(&self, place: Place) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.range(place..).rev().map(|(_, message)| message)
    }

    pub(crate) fn contains(&self, id: &MessageId) -> bool {
        self.places.contains_key(id)
    }

    /// Adds a message whose id is not there. Where there are too many, the first ones go.
    pub(crate) fn insert(&mut self, place: Place, message: Message) {
        let message = Arc::new(message);
        self.places.insert(message.id.clone(), place);
        self.weight += weight(&message);
        self.messages.insert(place, Arc::clone(&message));
        self.events.push_back(MessageEvent::Created(Arc::clone(&message)));
        match &message.status {
            Status::Streaming | Status::Pending => {}
            Status::Final | Status::Sent => self.events.push_back(MessageEvent::Finalized(message)),
            Status::Aborted(_) | Status::Failed(_) => self.events.push_back(MessageEvent::Aborted(message)),
        }
        self.has_changed = true;
        self.trim();
    }

    /// Changes a message, if it is there. A status that is settled stays; whether it becomes so decides about the event.
    pub(crate) fn change(&mut self, id: &MessageId, change: impl FnOnce(&mut Message)) {
        let Some(slot) = self.places.get(id).and_then(|place| self.messages.get_mut(place)) else { return };
        let mut changed = Message::clone(slot);
        change(&mut changed);
        let was_settled = slot.status.is_settled();
        if was_settled {
            changed.status.clone_from(&slot.status);
        }
        if changed == **slot {
            return;
        }
        let changed = Arc::new(changed);
        self.weight = self.weight - weight(slot) + weight(&changed);
        *slot = Arc::clone(&changed);
        self.has_changed = true;
        self.events.push_back(match &changed.status {
            Status::Final | Status::Sent if !was_settled => MessageEvent::Finalized(changed),
            Status::Aborted(_) | Status::Failed(_) if !was_settled => MessageEvent::Aborted(changed),
            Status::Streaming
            | Status::Pending
            | Status::Final
            | Status::Sent
            | Status::Aborted(_)
            | Status::Failed(_) => MessageEvent::Changed(changed),
        });
        self.trim();
    }

    /// Puts messages before all others, in their order. Those whose id is there are left out, and so are the first ones if
    /// there are too many.
    pub(crate) fn restore(&mut self, messages: Vec<Message>) {
        let mut added = HashMap::new();
        let messages: Vec<_> = messages
            .into_iter()
            .filter(|message| !self.contains(&message.id) && added.insert(message.id.clone(), ()).is_none())
            .collect();
        let room = self.limit.saturating_sub(self.messages.len());
        let skipped = messages.len().saturating_sub(room);
        let kept = messages.len() - skipped;
        self.first -= i64::try_from(kept).unwrap_or(i64::MAX);
        for (place, message) in (self.first..).zip(messages.into_iter().skip(skipped)) {
            self.insert(Place(place), message);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.has_changed |= !self.messages.is_empty();
        self.messages.clear();
        self.places.clear();
        self.weight = 0;
    }

    /// All messages under way, in order.
    pub(crate) fn unsettled(&self) -> Vec<MessageId> {
        let unsettled = self.messages.values().filter(|message| !message.status.is_settled());
        unsettled.map(|message| message.id.clone()).collect()
    }

    pub(crate) fn poll_event(&mut self) -> Option<MessageEvent> {
        self.events.pop_front()
    }

    /// The list, if it is another than at the last call.
    pub(crate) fn poll_list(&mut self) -> Option<Arc<[Arc<Message>]>> {
        std::mem::take(&mut self.has_changed).then(|| self.messages.values().cloned().collect())
    }

    fn trim(&mut self) {
        while self.messages.len() > self.limit || self.weight > MAX_WEIGHT && self.messages.len() > 1 {
            if let Some((_, gone)) = self.messages.pop_first() {
                self.weight -= weight(&gone);
                self.places.remove(&gone.id);
            }
        }
    }
}

fn weight(message: &Message) -> usize {
    let attributes = message.attributes.iter().map(|(key, value)| key.len() + value.len());
    let files = message.attachments.iter().map(|attachment| match &attachment.status {
        AttachmentStatus::Received(bytes) => bytes.len(),
        AttachmentStatus::Pending | AttachmentStatus::Aborted(_) => 0,
    });
    message.text.len() + attributes.sum::<usize>() + files.sum::<usize>()
}

/// The most that is kept of texts and files together, in bytes; the newest message is, whatever it weighs.
const MAX_WEIGHT: usize = 128 * 1024 * 1024;
