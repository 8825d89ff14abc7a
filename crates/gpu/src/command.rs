//! What a recording holds, for either way to a card: `M` is its memory, `P` its compiled kernels.

/// A part of a buffer.
pub(crate) struct Part<M> {
    pub(crate) memory: M,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// How many workgroups a dispatch has.
pub(crate) enum Groups<M> {
    /// So many, by dimension.
    Fixed([u32; 3]),
    /// As three `u32` of a buffer say when it runs, at most so many.
    Indirect(Part<M>, [u32; 3]),
}

/// One entry of a recording.
pub(crate) enum Command<M, P> {
    /// A kernel with its buffers, in the order of its bindings, and its constants.
    Dispatch { pipeline: P, parts: Vec<Part<M>>, constants: Vec<u8>, groups: Groups<M> },
    /// A copy of as many bytes as `to` has.
    Copy { from: Part<M>, to: Part<M> },
    /// What follows waits for what came before.
    Barrier,
}

impl<M> Part<M> {
    fn of<N>(self, memory: impl FnOnce(M) -> Option<N>) -> Option<Part<N>> {
        Some(Part { memory: memory(self.memory)?, offset: self.offset, bytes: self.bytes })
    }
}

impl<M, P> Command<M, P> {
    /// Whether all memory that it names is such, and its kernel.
    pub(crate) fn is_all(&self, memory: impl Fn(&M) -> bool, kernel: impl FnOnce(&P) -> bool) -> bool {
        let is_such = |part: &Part<M>| memory(&part.memory);
        match self {
            Command::Dispatch { pipeline, parts, groups, constants: _ } => {
                let counted = match groups {
                    Groups::Fixed(_) => true,
                    Groups::Indirect(part, _) => is_such(part),
                };
                counted && kernel(pipeline) && parts.iter().all(is_such)
            }
            Command::Copy { from, to } => is_such(from) && is_such(to),
            Command::Barrier => true,
        }
    }

    /// The same of other memory and kernels; `None` when one of them is not to be had.
    pub(crate) fn of<N, Q>(
        self,
        memory: impl Fn(M) -> Option<N>,
        kernel: impl FnOnce(P) -> Option<Q>,
    ) -> Option<Command<N, Q>> {
        Some(match self {
            Command::Dispatch { pipeline, parts, constants, groups } => Command::Dispatch {
                pipeline: kernel(pipeline)?,
                parts: parts.into_iter().map(|part| part.of(&memory)).collect::<Option<_>>()?,
                constants,
                groups: match groups {
                    Groups::Fixed(groups) => Groups::Fixed(groups),
                    Groups::Indirect(part, most) => Groups::Indirect(part.of(&memory)?, most),
                },
            },
            Command::Copy { from, to } => Command::Copy { from: from.of(&memory)?, to: to.of(&memory)? },
            Command::Barrier => Command::Barrier,
        })
    }
}
