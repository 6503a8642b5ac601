//! Which events a subscriber sees, and in which form.
//!
//! Most events only tell; some make a client *act*: an attached TUI in auto-approve mode answers any
//! `permission.asked` it receives, and any `tui.*` moves its screen, whatever their directory. So these reach only
//! those whom they concern. The rules are pure and live here alone.

use std::sync::Arc;

use crate::{
    domain::directory::same_directory,
    events::{filter::Filter, log::Event, opened::Opened},
};

/// What a subscriber asked for. Subscribers with equal views share the work of writing their events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The form of the events.
    pub shape: Shape,
    /// The directory it named.
    pub directory: Option<Arc<str>>,
    /// The id of the server it named. It gets the other servers' events all the same, but moves its screen for this
    /// one only.
    pub server: Option<Arc<str>>,
    /// Whose calls for attention it gets when it names no directory.
    pub attention: AttentionRule,
    /// What its program has opened, if that is known: calls for attention from there reach it as well.
    pub opened: Option<Opened>,
    /// What it wants to hear of, on our own stream.
    pub filter: Arc<Filter>,
}

/// The form of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// As on `/global/event`: `{"directory","project","payload"}`, of all directories and of whole processes.
    Global,
    /// As on `/event`: the bare payload, of one directory (the default server's own if none was named). Events of
    /// whole processes and `sync` twins do not go there, as on a real server.
    Directory,
    /// As on `/api/event`: `{"id","type","durable","location","data"}`, of all directories and of whole processes.
    Api,
    /// As on `/events`, our own: `{"directory","project","payload","server","id"}`, of what the filter lets through. Its
    /// clients are written for it and know what they answer, so it holds nothing back.
    Own,
}

/// Whose calls for attention reach a subscriber that names no directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionRule {
    /// Everybody's: it is a browser, where a person sees them, or it asked for them.
    All,
    /// Only those of the default server's own directory.
    Own,
}

/// Who is to see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attention {
    /// Whoever listens.
    Everyone,
    /// Whoever works in its directory: clients act on it by themselves.
    Directory,
    /// Whoever named the emitting server: it moves a screen.
    Screen,
}

impl View {
    /// Whether the event is for this view, while the default server's own directory is `default`.
    pub(super) fn admits(&self, event: &Event, default: Option<&str>) -> bool {
        if self.shape == Shape::Own {
            return self.filter.admits(event);
        }
        let of = |wanted: Option<&str>| match (wanted, event.directory.as_deref()) {
            (Some(wanted), Some(directory)) => same_directory(wanted, directory),
            _ => false,
        };
        let named = self.directory.as_deref();
        let reaches = match self.shape {
            Shape::Directory => !event.global_only && of(named.or(default)),
            Shape::Global | Shape::Api | Shape::Own => true,
        };
        reaches
            && match event.attention {
                Attention::Everyone => true,
                Attention::Screen => self.server.is_some() && self.server == event.server,
                Attention::Directory => {
                    let concerned = match (named, self.attention) {
                        (None, AttentionRule::All) => true,
                        (None, AttentionRule::Own) => of(default),
                        (named, _) => of(named),
                    };
                    concerned || self.has_opened(event)
                }
            }
    }

    /// Whether it was asked for because of this server or of what is its own directory.
    pub(super) fn concerns(&self, server: &str, directory: &str) -> bool {
        self.server.as_deref() == Some(server)
            || self.directory.as_deref().is_some_and(|named| same_directory(named, directory))
            || self.opened.as_ref().is_some_and(|opened| opened.contains(directory))
    }

    fn has_opened(&self, event: &Event) -> bool {
        let opened = self.opened.as_ref().zip(event.directory.as_deref());
        opened.is_some_and(|(opened, directory)| opened.contains(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "srv_home";
    const AWAY: &str = "srv_away";

    fn event(directory: Option<&str>, attention: Attention) -> Event {
        Event {
            seq: 0,
            server: Some(HOME.into()),
            directory: directory.map(Into::into),
            attention,
            session: None,
            kind: "x".into(),
            frame: bytes::Bytes::new(),
            payload: 0..0,
            global_only: directory.is_none(),
        }
    }

    fn view(shape: Shape, directory: Option<&str>, attention: AttentionRule) -> View {
        View {
            shape,
            directory: directory.map(Into::into),
            server: None,
            attention,
            opened: None,
            filter: Arc::default(),
        }
    }

    #[test]
    fn a_call_for_attention_reaches_only_those_it_concerns() {
        use AttentionRule::{All, Own};
        let asked = event(Some("/one"), Attention::Directory);
        for (named, rule, default, reaches) in [
            (Some("/one/"), Own, None, true),
            (Some("/one"), All, Some("/two"), true),
            (Some("/two"), All, Some("/one"), false),
            (None, All, None, true),
            (None, Own, Some("/one"), true),
            (None, Own, Some("/two"), false),
            (None, Own, None, false),
        ] {
            assert_eq!(
                view(Shape::Global, named, rule).admits(&asked, default),
                reaches,
                "{named:?} {rule:?} {default:?}"
            );
        }
        let nowhere = event(None, Attention::Directory);
        assert!(!view(Shape::Global, Some("/one"), All).admits(&nowhere, Some("/one")));
    }

    #[test]
    fn a_call_for_attention_reaches_whose_program_has_opened_a_session_there() {
        let asked = event(Some("/one"), Attention::Directory);
        for named in [None, Some("/two")] {
            let opened = Opened::default();
            let view =
                View { opened: Some(opened.clone()), ..view(Shape::Global, named, AttentionRule::Own) };
            opened.add("/three");
            assert!(!view.admits(&asked, Some("/two")), "{named:?}");
            opened.add("/one");
            assert!(view.admits(&asked, Some("/two")), "{named:?}");
            assert!(!view.admits(&event(None, Attention::Directory), Some("/two")));
            assert!(!view.admits(&event(Some("/one"), Attention::Screen), None), "it moves a screen");
        }
    }

    #[test]
    fn a_screen_is_moved_only_for_those_who_named_its_server() {
        let tui = event(Some("/one"), Attention::Screen);
        for shape in [Shape::Global, Shape::Directory] {
            for (server, reaches) in [(None, false), (Some(AWAY), false), (Some(HOME), true)] {
                let view =
                    View { server: server.map(Into::into), ..view(shape, Some("/one"), AttentionRule::All) };
                assert_eq!(view.admits(&tui, None), reaches, "{shape:?} {server:?}");
            }
        }
        let unknown = Event { server: None, ..tui };
        assert!(!view(Shape::Global, None, AttentionRule::All).admits(&unknown, None));
    }

    #[test]
    fn a_directory_stream_holds_its_directory_alone() {
        let view = view(Shape::Directory, Some("/one"), AttentionRule::All);
        assert!(view.admits(&event(Some("/one"), Attention::Everyone), None));
        assert!(!view.admits(&event(Some("/two"), Attention::Everyone), None));
        assert!(!view.admits(&event(None, Attention::Everyone), None));
        let twin = Event { global_only: true, ..event(Some("/one"), Attention::Everyone) };
        assert!(!view.admits(&twin, None));
    }

    #[test]
    fn a_directory_stream_without_a_name_is_the_default_servers() {
        let view = view(Shape::Directory, None, AttentionRule::Own);
        assert!(view.admits(&event(Some("/one"), Attention::Directory), Some("/one")));
        assert!(!view.admits(&event(Some("/one"), Attention::Everyone), Some("/two")));
        assert!(!view.admits(&event(Some("/one"), Attention::Everyone), None));
    }

    #[test]
    fn a_global_stream_holds_all_that_only_tells_whatever_it_names() {
        for shape in [Shape::Global, Shape::Api] {
            let view = view(shape, Some("/two"), AttentionRule::Own);
            assert!(view.admits(&event(Some("/one"), Attention::Everyone), None));
            assert!(view.admits(&event(None, Attention::Everyone), None));
            assert!(!view.admits(&event(Some("/one"), Attention::Directory), None));
        }
    }
}
