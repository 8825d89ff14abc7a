//! The tree of a page's elements, as html5ever builds it: an arena, bounded in depth and in nodes, since a
//! few kilobytes of markup can ask for any number of both.

use std::{
    borrow::Cow,
    cell::{Cell, Ref, RefCell},
    mem::take,
};

use html5ever::{
    Attribute, LocalName, Namespace, ParseOpts, QualName,
    interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink},
    parse_document,
    tendril::{StrTendril, TendrilSink},
    tree_builder::TreeBuilderOpts,
};

/// Deepest element.
const DEPTH_MAX: usize = 512;

/// Most nodes of a page.
const NODES_MAX: usize = 1_000_000;

/// How much is parsed before the bounds are looked at again. Units: bytes.
const STEP: usize = 4096;

/// The node that holds the whole document.
pub(super) const DOCUMENT: usize = 0;

/// A parsed page.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Whether a bound was hit: what follows in the source is missing.
    pub(super) is_cut: bool,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    children: Vec<usize>,
    /// How deep it was put; what is moved later keeps it.
    depth: usize,
    data: Data,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Data {
    Document,
    Element { name: QualName, attributes: Vec<Attribute> },
    Text(String),
    Comment,
}

impl Tree {
    /// Parses a document or a part of one; everything is some tree.
    pub(super) fn parse(html: &str) -> Self {
        let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
        let mut parser = parse_document(Sink::new(), ParseOpts { tree_builder, ..ParseOpts::default() });
        let mut rest = html;
        while !rest.is_empty() && !parser.tokenizer.sink.sink.is_full() {
            let (step, after) = rest.split_at(rest.floor_char_boundary(STEP));
            parser.process(StrTendril::from(step));
            rest = after;
        }
        Self { is_cut: !rest.is_empty(), nodes: parser.finish() }
    }

    pub(super) fn data(&self, node: usize) -> &Data {
        &self.nodes[node].data
    }

    pub(super) fn children(&self, node: usize) -> &[usize] {
        &self.nodes[node].children
    }

    /// Nodes at and below one, parents before children.
    pub(super) fn walk(&self, node: usize) -> impl Iterator<Item = usize> {
        let mut stack = vec![node];
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            stack.extend(self.children(node).iter().rev());
            Some(node)
        })
    }
}

impl Data {
    /// An element's name; empty for what is none.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Element { name, .. } => &name.local,
            _ => "",
        }
    }

    /// An attribute's value.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let Self::Element { attributes, .. } = self else { return None };
        attributes.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
    }
}

/// The tree while it is built.
struct Sink {
    nodes: RefCell<Vec<Node>>,
    deepest: Cell<usize>,
}

impl Sink {
    fn new() -> Self {
        let document = Node { parent: None, children: Vec::new(), depth: 0, data: Data::Document };
        Self { nodes: RefCell::new(vec![document]), deepest: Cell::new(0) }
    }

    fn is_full(&self) -> bool {
        self.deepest.get() > DEPTH_MAX || self.nodes.borrow().len() > NODES_MAX
    }

    fn create(&self, data: Data) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { parent: None, children: Vec::new(), depth: 0, data });
        nodes.len() - 1
    }

    /// Puts a node or text among a parent's children, at a place; text joins the text before it.
    fn insert(&self, parent: usize, at: usize, child: NodeOrText<usize>) {
        let node = match child {
            NodeOrText::AppendNode(node) => {
                self.remove_from_parent(&node);
                node
            }
            NodeOrText::AppendText(text) => {
                let mut nodes = self.nodes.borrow_mut();
                let before = at.checked_sub(1).map(|at| nodes[parent].children[at]);
                if let Some(Data::Text(before)) = before.map(|before| &mut nodes[before].data) {
                    before.push_str(&text);
                    return;
                }
                drop(nodes);
                self.create(Data::Text(text.to_string()))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        let depth = nodes[parent].depth + 1;
        self.deepest.set(self.deepest.get().max(depth));
        (nodes[node].parent, nodes[node].depth) = (Some(parent), depth);
        let at = at.min(nodes[parent].children.len());
        nodes[parent].children.insert(at, node);
    }

    fn place_of(&self, node: usize) -> Option<(usize, usize)> {
        let nodes = self.nodes.borrow();
        let parent = nodes[node].parent?;
        // From the end: what is moved was mostly put there last.
        let at = nodes[parent].children.iter().rposition(|&child| child == node)?;
        Some((parent, at))
    }
}

/// An element's name, borrowed from the tree that is being built.
#[derive(Debug)]
struct Name<'a>(Ref<'a, QualName>);

impl ElemName for Name<'_> {
    fn ns(&self) -> &Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.0.local
    }
}

impl TreeSink for Sink {
    type Handle = usize;
    type Output = Vec<Node>;
    type ElemName<'a> = Name<'a>;

    fn finish(self) -> Vec<Node> {
        self.nodes.into_inner()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> usize {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a usize) -> Name<'a> {
        Name(Ref::map(self.nodes.borrow(), |nodes| match &nodes[*target].data {
            Data::Element { name, .. } => name,
            // The parser asks for names of elements alone.
            other => unreachable!("{other:?} has no name"),
        }))
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> usize {
        self.create(Data::Element { name, attributes })
    }

    fn create_comment(&self, _: StrTendril) -> usize {
        self.create(Data::Comment)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> usize {
        self.create(Data::Comment)
    }

    fn append(&self, parent: &usize, child: NodeOrText<usize>) {
        let at = self.nodes.borrow()[*parent].children.len();
        self.insert(*parent, at, child);
    }

    fn append_based_on_parent_node(&self, element: &usize, previous: &usize, child: NodeOrText<usize>) {
        let has_parent = self.nodes.borrow()[*element].parent.is_some();
        match has_parent {
            true => self.append_before_sibling(element, child),
            false => self.append(previous, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// A template's contents are its children: they are text like any other.
    fn get_template_contents(&self, target: &usize) -> usize {
        *target
    }

    fn same_node(&self, a: &usize, b: &usize) -> bool {
        a == b
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &usize, child: NodeOrText<usize>) {
        if let NodeOrText::AppendNode(node) = &child {
            self.remove_from_parent(node);
        }
        if let Some((parent, at)) = self.place_of(*sibling) {
            self.insert(parent, at, child);
        }
    }

    fn add_attrs_if_missing(&self, target: &usize, new: Vec<Attribute>) {
        if let Data::Element { attributes, .. } = &mut self.nodes.borrow_mut()[*target].data {
            for attribute in new {
                if attributes.iter().all(|known| known.name != attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &usize) {
        if let Some((parent, at)) = self.place_of(*target) {
            let mut nodes = self.nodes.borrow_mut();
            nodes[parent].children.remove(at);
            nodes[*target].parent = None;
        }
    }

    fn reparent_children(&self, node: &usize, new_parent: &usize) {
        let mut nodes = self.nodes.borrow_mut();
        let children = take(&mut nodes[*node].children);
        for &child in &children {
            nodes[child].parent = Some(*new_parent);
        }
        nodes[*new_parent].children.extend(children);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(html: &str) -> String {
        let tree = Tree::parse(html);
        let shown = |node| match tree.data(node) {
            Data::Text(text) => format!("{text:?}"),
            data => data.name().to_owned(),
        };
        tree.walk(DOCUMENT).skip(1).map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn anything_is_a_tree() {
        for (html, expected) in [
            ("", "html head body"),
            ("a<p>b<p>c", "html head body \"a\" p \"b\" p \"c\""),
            ("<table>x<tr><td>y</table>", "html head body \"x\" table tbody tr td \"y\""),
            ("<b>1<p>2</b>3", "html head body b \"1\" p b \"2\" \"3\""),
            ("<noscript><i>x</i></noscript>", "html head noscript body i \"x\""),
            ("<body><template><i>x</i></template>", "html head body template i \"x\""),
        ] {
            assert_eq!(outline(html), expected, "{html}");
        }
    }

    #[test]
    fn depth_and_nodes_are_bounded() {
        let deep = Tree::parse(&"<div>".repeat(200_000));
        assert!(deep.is_cut && deep.nodes.len() < 2 * DEPTH_MAX + STEP);
        let formats: String = (0..400).map(|i| format!("<b id={i}>")).collect();
        let wide = Tree::parse(&format!("<p>{formats}{}", "<p>x".repeat(100_000)));
        assert!(wide.is_cut && wide.nodes.len() < 2 * NODES_MAX);
        assert!(!Tree::parse(&"<p>x<b>y</b><br><img src=z>".repeat(10_000)).is_cut);
    }
}
