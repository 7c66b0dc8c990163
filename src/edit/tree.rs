//! The tree of a configuration file. Each node has its place in the text. The formats YAML, JSON and INI share this tree,
//! so that planning and proving an edit does not depend on the format.

use std::ops::Range;

/// A value and its place in the text.
#[derive(Clone, Debug)]
pub struct TreeNode {
    /// The bytes of the value. A block mapping or list extends from its first key or item to the end of its last value,
    /// without comments or white space after it.
    pub span: Range<usize>,
    pub value: NodeValue,
    pub style: Style,
    /// A YAML anchor (`&name`) that aliases may refer to, as a number, or 0.
    pub anchor: usize,
    /// The node has an explicit YAML tag (`!!str`).
    pub has_tag: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    Null,
    /// A string.
    Text(String),
    /// A number, a Boolean or another plain scalar that is not a string, as it is written.
    Other(String),
    /// A YAML alias (`*name`).
    Alias(usize),
    List(Vec<TreeNode>),
    /// The members in the order of the file. A name may occur more than once.
    Map(Vec<(TreeNode, TreeNode)>),
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A scalar or an alias.
    Scalar,
    /// With brackets, as in JSON.
    Flow,
    /// By indentation, or in INI by lines.
    Block,
}

/// The way from the root to a node: the position of the child on each level.
pub type Pointer = Vec<usize>;

/// Two nodes are equal if they have the same values in the same order. Their places and styles do not matter.
impl PartialEq for TreeNode {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.anchor == other.anchor && self.has_tag == other.has_tag
    }
}

impl Eq for TreeNode {}

impl TreeNode {
    fn new(value: NodeValue, style: Style) -> Self {
        Self { span: 0..0, value, style, anchor: 0, has_tag: false }
    }

    pub fn null() -> Self {
        Self::new(NodeValue::Null, Style::Scalar)
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(NodeValue::Text(text.into()), Style::Scalar)
    }

    /// A number or a Boolean.
    pub fn other(text: impl Into<String>) -> Self {
        Self::new(NodeValue::Other(text.into()), Style::Scalar)
    }

    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::new(NodeValue::List(items.into_iter().collect()), Style::Block)
    }

    pub fn map<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        let members = members.into_iter().map(|(key, value)| (Self::text(key), value)).collect();
        Self::new(NodeValue::Map(members), Style::Block)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a scalar as it is written, without quotes.
    pub fn as_scalar(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) | NodeValue::Other(text) => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Self] {
        match &self.value {
            NodeValue::List(items) => items,
            _ => &[],
        }
    }

    pub fn members(&self) -> &[(Self, Self)] {
        match &self.value {
            NodeValue::Map(members) => members,
            _ => &[],
        }
    }

    /// Returns the last member with this name. Programs that accept a repeated name use the last one.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members().iter().rev().find(|(key, _)| key.as_scalar() == Some(name)).map(|(_, value)| value)
    }

    /// Returns the position of the last member with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.members().iter().rposition(|(key, _)| key.as_scalar() == Some(name))
    }

    /// Returns true if it is null, an empty string, or an empty collection.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            NodeValue::Null => true,
            NodeValue::Text(text) | NodeValue::Other(text) => text.is_empty(),
            NodeValue::Alias(_) => false,
            NodeValue::List(items) => items.is_empty(),
            NodeValue::Map(members) => members.is_empty(),
        }
    }

    /// Returns the descendant that a pointer leads to.
    pub fn at(&self, pointer: &[usize]) -> Option<&Self> {
        pointer.iter().try_fold(self, |node, position| match &node.value {
            NodeValue::List(items) => items.get(*position),
            NodeValue::Map(members) => members.get(*position).map(|(_, value)| value),
            _ => None,
        })
    }

    fn at_mut(&mut self, pointer: &[usize]) -> Option<&mut Self> {
        pointer.iter().try_fold(self, |node, position| match &mut node.value {
            NodeValue::List(items) => items.get_mut(*position),
            NodeValue::Map(members) => members.get_mut(*position).map(|(_, value)| value),
            _ => None,
        })
    }

    /// Returns true if this node or a descendant is an alias or has an anchor or a tag. Replacing such a node could
    /// change other parts of the file.
    pub fn is_entangled(&self) -> bool {
        let inner = match &self.value {
            NodeValue::Alias(_) => true,
            NodeValue::List(items) => items.iter().any(Self::is_entangled),
            NodeValue::Map(members) => {
                members.iter().any(|(key, value)| key.is_merge_key() || key.is_entangled() || value.is_entangled())
            }
            _ => false,
        };
        inner || self.anchor != 0 || self.has_tag
    }

    /// Returns true if a mapping has more than one member with this name.
    pub fn repeats(&self, name: &str) -> bool {
        self.members().iter().filter(|(key, _)| key.as_scalar() == Some(name)).count() > 1
    }

    /// Returns true if in this node or a descendant a mapping has more than one member of the same name.
    pub fn has_repeated_names(&self) -> bool {
        let is_repeated = |key: &Self| key.as_scalar().is_some_and(|name| self.repeats(name));
        self.items().iter().any(Self::has_repeated_names)
            || self.members().iter().any(|(key, value)| is_repeated(key) || value.has_repeated_names())
    }

    /// Returns true if it is YAML's `<<`, which includes the members of another mapping.
    pub fn is_merge_key(&self) -> bool {
        self.as_scalar() == Some("<<")
    }

    /// Returns true if two values mean the same to a program: the order of members does not matter, and a member with
    /// the value null may be missing. A program that rewrites its file may change these two things, but no more.
    pub fn has_meaning_of(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (NodeValue::Map(one), NodeValue::Map(another)) => {
                let is_covered = |from: &[(Self, Self)], by: &Self| {
                    from.iter().filter(|(_, value)| value.value != NodeValue::Null).all(|(key, value)| {
                        let name = key.as_scalar().unwrap_or_default();
                        by.member(name).is_some_and(|counterpart| value.has_meaning_of(counterpart))
                    })
                };
                is_covered(one, other) && is_covered(another, self)
            }
            (NodeValue::List(one), NodeValue::List(another)) => {
                one.len() == another.len() && one.iter().zip(another).all(|(one, another)| one.has_meaning_of(another))
            }
            (one, another) => one == another,
        }
    }
}

/// A change of one place in a tree.
#[derive(Clone, Debug)]
pub enum TreeChange {
    /// Gives a node another value.
    Replace(Pointer, TreeNode),
    /// Adds a member at the end of a mapping.
    Insert(Pointer, String, TreeNode),
    /// Removes a member of a mapping.
    Remove(Pointer),
}

impl TreeChange {
    /// Returns the tree with the change. Returns `None` if there is no such place.
    pub fn planned(&self, root: &TreeNode) -> Option<TreeNode> {
        let mut root = root.clone();
        match self {
            Self::Replace(pointer, value) => root.at_mut(pointer)?.value = value.value.clone(),
            Self::Insert(pointer, key, value) => {
                let map = root.at_mut(pointer)?;
                match &mut map.value {
                    NodeValue::Map(members) => members.push((TreeNode::text(key), value.clone())),
                    NodeValue::Null => map.value = NodeValue::Map(vec![(TreeNode::text(key), value.clone())]),
                    _ => return None,
                }
            }
            Self::Remove(pointer) => {
                let (last, parent) = pointer.split_last()?;
                match &mut root.at_mut(parent)?.value {
                    NodeValue::Map(members) if *last < members.len() => drop(members.remove(*last)),
                    _ => return None,
                }
            }
        }
        Some(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meaning_ignores_the_order_of_members_and_nulls() {
        let one = TreeNode::map([("a", TreeNode::text("1")), ("b", TreeNode::list([TreeNode::text("x")]))]);
        let other = TreeNode::map([
            ("b", TreeNode::list([TreeNode::text("x")])),
            ("env", TreeNode::null()),
            ("a", TreeNode::text("1")),
        ]);
        assert!(one.has_meaning_of(&other) && other.has_meaning_of(&one));
        assert!(one != other);
        for different in [
            TreeNode::map([("a", TreeNode::other("1")), ("b", TreeNode::list([TreeNode::text("x")]))]),
            TreeNode::map([("a", TreeNode::text("1"))]),
            TreeNode::map([("a", TreeNode::text("1")), ("b", TreeNode::list([]))]),
            TreeNode::null(),
        ] {
            assert!(!one.has_meaning_of(&different) && !different.has_meaning_of(&one), "{different:?}");
        }
    }

    #[test]
    fn repeated_names_are_found_at_any_depth() {
        let repeated = TreeNode::map([("a", TreeNode::null()), ("b", TreeNode::null()), ("a", TreeNode::text("1"))]);
        assert!(repeated.repeats("a") && !repeated.repeats("b") && !repeated.repeats("c"));
        let inside = TreeNode::map([("x", TreeNode::list([TreeNode::text("1"), repeated.clone()]))]);
        assert!(repeated.has_repeated_names() && inside.has_repeated_names() && !inside.repeats("x"));
        let same_name_apart = TreeNode::map([("a", TreeNode::map([("a", TreeNode::null())])), ("b", TreeNode::null())]);
        assert!(!same_name_apart.has_repeated_names());
    }

    #[test]
    fn a_change_has_one_place() {
        let root = TreeNode::map([("a", TreeNode::map([("b", TreeNode::text("1"))])), ("c", TreeNode::null())]);
        let planned = |change: TreeChange| change.planned(&root);
        let expected = TreeNode::map([("a", TreeNode::map([("b", TreeNode::text("2"))])), ("c", TreeNode::null())]);
        assert_eq!(planned(TreeChange::Replace(vec![0, 0], TreeNode::text("2"))), Some(expected));
        let expected = TreeNode::map([
            ("a", TreeNode::map([("b", TreeNode::text("1"))])),
            ("c", TreeNode::map([("d", TreeNode::null())])),
        ]);
        assert_eq!(planned(TreeChange::Insert(vec![1], "d".into(), TreeNode::null())), Some(expected));
        assert_eq!(planned(TreeChange::Remove(vec![0])), Some(TreeNode::map([("c", TreeNode::null())])));
        assert_eq!(planned(TreeChange::Remove(vec![7])), None);
        assert_eq!(planned(TreeChange::Insert(vec![0, 0], "d".into(), TreeNode::null())), None);
    }
}
