//! What may leave of a stream that is judged while it is written.
//!
//! [`Release`] is plain data: texts go in with whatever carries them, windows of text come out to be judged,
//! and what was judged comes out in the order in which it came. An item leaves when its text and the
//! `HOLD_BYTES` after it were judged together, so nothing is begun whose end, within that many bytes, is
//! refused; of longer texts the beginning may be gone when the end is seen. What is refused never leaves, nor
//! does anything of its stage after it.

use std::collections::VecDeque;

use crate::check::Stage;

/// Text after an item that has to be judged with it. Units: bytes.
const HOLD_BYTES: usize = 160;
/// New text that is worth a judgment before a part has ended. Units: bytes.
const WINDOW_BYTES: usize = 640;
/// Text before a window that is judged with it again. Units: bytes.
const BEFORE_BYTES: usize = 640;
/// Most text that is judged at once. Units: bytes.
const JUDGED_BYTES_MAX: usize = 16 << 10;

/// A text that is to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What it is.
    pub stage: Stage,
    /// What it says.
    pub text: String,
}

/// An item that is held.
#[derive(Debug)]
struct Held<T> {
    item: T,
    /// Length of the text with its own.
    end: usize,
    /// Whether it has any.
    has_text: bool,
}

/// Consecutive items of one stage.
#[derive(Debug)]
struct Part<T> {
    stage: Stage,
    text: String,
    items: VecDeque<Held<T>>,
    /// Length of what was judged.
    judged: usize,
    has_ended: bool,
}

/// A stream that is held back.
#[derive(Debug)]
pub struct Release<T> {
    parts: VecDeque<Part<T>>,
    ready: VecDeque<T>,
    /// The end of the window that is being judged, in the first part.
    asked: Option<usize>,
    /// Stages of which nothing leaves any more.
    refused: Vec<Stage>,
}

impl<T> Default for Release<T> {
    fn default() -> Release<T> {
        Release { parts: VecDeque::new(), ready: VecDeque::new(), asked: None, refused: Vec::new() }
    }
}

impl<T> Release<T> {
    /// More of the stream.
    pub fn push(&mut self, stage: Stage, text: &str, item: T) {
        if self.refused.contains(&stage) {
            return;
        }
        match self.parts.back_mut() {
            Some(last) if last.stage == stage && !last.has_ended => {
                last.text.push_str(text);
                last.items.push_back(Held { item, end: last.text.len(), has_text: true });
            }
            last => {
                if let Some(last) = last {
                    last.has_ended = true;
                }
                let (text, has_ended) = (text.to_owned(), false);
                let items = VecDeque::from([Held { item, end: text.len(), has_text: true }]);
                self.parts.push_back(Part { stage, text, items, judged: 0, has_ended });
            }
        }
    }

    /// Something without a text that is judged, which leaves behind what came before it.
    pub fn pass(&mut self, item: T) {
        match self.parts.back_mut() {
            Some(last) => last.items.push_back(Held { item, end: last.text.len(), has_text: false }),
            None => self.ready.push_back(item),
        }
    }

    /// Nothing more comes of what came last.
    pub fn end(&mut self) {
        if let Some(last) = self.parts.back_mut() {
            last.has_ended = true;
        }
        self.settle();
    }

    /// The next text to be judged, if there is one and none is being judged; say of it [`Release::judged`].
    pub fn window(&mut self) -> Option<Window> {
        self.settle();
        let first = self.parts.front().filter(|_| self.asked.is_none())?;
        let new = first.text.len() - first.judged;
        let is_due = new >= WINDOW_BYTES || (first.has_ended && new > 0);
        if !is_due {
            return None;
        }
        let before = first.judged.saturating_sub(BEFORE_BYTES.max(HOLD_BYTES));
        let from = first.text.floor_char_boundary(before);
        let to = first.text.floor_char_boundary(first.judged + JUDGED_BYTES_MAX);
        self.asked = Some(to);
        Some(Window { stage: first.stage, text: first.text[from..to].to_owned() })
    }

    /// The window was judged: it may leave, or nothing of its stage does from here on.
    pub fn judged(&mut self, may_leave: bool) {
        let (Some(to), Some(first)) = (self.asked.take(), self.parts.front_mut()) else { return };
        first.judged = to;
        if may_leave {
            self.settle();
            return;
        }
        let stage = first.stage;
        self.refused.push(stage);
        for part in self.parts.iter_mut().filter(|part| part.stage == stage) {
            part.items.retain(|held| !held.has_text);
            part.items.iter_mut().for_each(|held| held.end = 0);
            (part.text, part.judged, part.has_ended) = (String::new(), 0, true);
        }
        self.settle();
    }

    /// Drops all that is held.
    pub fn clear(&mut self) {
        (self.asked, self.parts) = (None, VecDeque::new());
        self.ready.clear();
    }

    /// The next item that may leave.
    pub fn take(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.ready.is_empty()
    }

    /// Makes ready what may leave.
    fn settle(&mut self) {
        while let Some(first) = self.parts.front_mut() {
            let is_whole = first.has_ended && first.judged == first.text.len();
            let hold = if is_whole { 0 } else { HOLD_BYTES };
            let free = first.judged.checked_sub(hold);
            while let Some(held) = first.items.pop_front_if(|held| free.is_some_and(|free| held.end <= free))
            {
                self.ready.push_back(held.item);
            }
            if !is_whole {
                return;
            }
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
