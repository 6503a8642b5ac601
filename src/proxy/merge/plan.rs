//! Who is asked for a list, and for which directory.
//!
//! Sessions and projects stand in a store and are the same on each of its servers: one is asked, the others stand by.
//! Everything else lives in one process, mostly in one directory's part of it: every server is asked, once for each
//! directory in use. No directory is named to a server that does not have it in use, except the one which the client
//! named itself when nobody has it in use.

use std::{collections::BTreeSet, sync::Arc};

use super::partial::{Absence, Reason};
use crate::{
    domain::{
        candidate::by_default,
        directory::{same_directory, trimmed},
        ids::{ServerKey, StoreKey},
    },
    opencode::lists::List,
    registry::{server::Server, servers::Snapshot},
};

/// Which directory a question names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wording {
    /// Whatever the client named, in its own words.
    AsNamed,
    /// This one, named by us.
    In(Arc<str>),
    /// None, which means the server's own.
    Own,
}

/// One part of a list, and who may tell it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Who is asked first, and who instead if that one fails or takes long.
    pub(super) servers: Vec<Arc<Server>>,
    pub(super) wording: Wording,
    /// The directory that is meant, as far as it is known.
    pub(super) directory: Option<Arc<str>>,
}

/// All parts of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) questions: Vec<Question>,
    /// Who is not asked although it would have a part.
    pub(super) absences: Vec<Absence>,
}

/// Where the rows of a list live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// In the store, all of them.
    Store,
    /// In the store, a project of it at a time.
    Projects,
    /// In a process, a directory of it at a time.
    Directories,
    /// In a process.
    Process,
}

fn scope(list: List) -> Scope {
    match list {
        List::ExperimentalSessions | List::ApiSessions | List::Projects => Scope::Store,
        List::Sessions => Scope::Projects,
        List::ActiveSessions => Scope::Process,
        List::SessionStatus
        | List::Permissions
        | List::Questions
        | List::Terminals
        | List::ApiPermissions
        | List::ApiQuestions
        | List::ApiTerminals => Scope::Directories,
    }
}

/// Who is asked for `list`. `directory` is the one that the client named, `chosen` the server of that directory.
pub(super) fn plan(
    list: List,
    servers: &Snapshot,
    directory: Option<&str>,
    chosen: Option<&Arc<Server>>,
) -> Plan {
    let town = Town::new(servers);
    // On `/api/session` a directory is a filter and opens nothing; `/api/session/active` knows none.
    let opens = !matches!(list, List::ApiSessions | List::ActiveSessions);
    let mut plan = Plan::default();
    match (scope(list), directory.filter(|_| opens)) {
        (Scope::Store, None) => {
            for servers in town.stores() {
                plan.put(servers, Wording::AsNamed, None);
            }
            plan.absences = town.unheard_stores();
        }
        (Scope::Projects, None) => {
            for servers in town.stores() {
                plan.put_each_directory(&servers);
            }
            plan.absences = town.unheard_stores();
        }
        (Scope::Directories, None) => {
            for server in &town.answering {
                plan.put_each_directory(std::slice::from_ref(server));
            }
            plan.absences = town.silent(|_| true);
        }
        (Scope::Process, _) => {
            for server in &town.answering {
                plan.put(vec![Arc::clone(server)], Wording::AsNamed, None);
            }
            plan.absences = town.silent(|_| true);
        }
        (scope, Some(directory)) => {
            let per_store = scope != Scope::Directories;
            let mut reached: Vec<StoreKey> = Vec::new();
            for server in town.answering.iter().filter(|server| uses(server, directory)) {
                match reached.iter().position(|store| per_store && *store == server.store) {
                    Some(at) => plan.questions[at].servers.push(Arc::clone(server)),
                    None => {
                        reached.push(server.store);
                        plan.put(vec![Arc::clone(server)], Wording::AsNamed, Some(directory.into()));
                    }
                }
            }
            if plan.questions.is_empty()
                && let Some(server) = chosen.filter(|server| server.answering())
            {
                reached.push(server.store);
                plan.put(vec![Arc::clone(server)], Wording::AsNamed, Some(directory.into()));
            }
            if list == List::Projects {
                // Every project of a store is told whatever directory is named; the other stores need not open it.
                for servers in town
                    .stores()
                    .into_iter()
                    .filter(|servers| servers.first().is_some_and(|server| !reached.contains(&server.store)))
                {
                    plan.put(servers, Wording::Own, None);
                }
                plan.absences = town.unheard_stores();
            } else {
                plan.absences = town.silent(|server| {
                    uses(server, directory) && !(per_store && reached.contains(&server.store))
                });
            }
        }
    }
    plan
}

impl Plan {
    fn put(&mut self, servers: Vec<Arc<Server>>, wording: Wording, directory: Option<Arc<str>>) {
        self.questions.push(Question { servers, wording, directory });
    }

    /// One question for each directory that any of `servers` has in use.
    fn put_each_directory(&mut self, servers: &[Arc<Server>]) {
        let in_use: BTreeSet<Arc<str>> = servers.iter().flat_map(|server| directories(server)).collect();
        for directory in in_use {
            let mut users: Vec<Arc<Server>> =
                servers.iter().filter(|server| uses(server, &directory)).cloned().collect();
            // A server needs not be told of its own directory, and in its own words it is sure to be the same.
            let own = |server: &Arc<Server>| {
                server.directory.as_deref().is_some_and(|own| same_directory(own, &directory))
            };
            users.sort_by_key(|server| !own(server));
            let wording =
                if users.iter().all(own) { Wording::Own } else { Wording::In(Arc::clone(&directory)) };
            self.put(users, wording, Some(directory));
        }
        for server in servers.iter().filter(|server| directories(server).is_empty()) {
            self.put(vec![Arc::clone(server)], Wording::Own, None);
        }
    }
}

/// The directories in use of a server.
fn directories(server: &Server) -> BTreeSet<Arc<str>> {
    let own = server.directory.as_deref().map(|own| Arc::from(trimmed(own)));
    server.directories.all().into_iter().chain(own).collect()
}

fn uses(server: &Server, directory: &str) -> bool {
    server.directory.as_deref().is_some_and(|own| same_directory(own, directory))
        || server.directories.contains(directory)
}

/// The servers of one moment: those that answer, the default before all others, and those that do not.
struct Town {
    answering: Vec<Arc<Server>>,
    silent: Vec<Absence>,
}

impl Town {
    fn new(servers: &Snapshot) -> Self {
        let mut town = Self { answering: Vec::new(), silent: Vec::new() };
        for server in servers.iter() {
            match Reason::of(server.state) {
                None => town.answering.push(Arc::clone(server)),
                Some(reason) => town.silent.push(Absence { server: Arc::clone(server), reason }),
            }
        }
        let mut candidates: Vec<_> = town.answering.iter().map(|server| server.candidate()).collect();
        let mut order: Vec<ServerKey> = Vec::new();
        while let Some(next) = by_default(&candidates) {
            candidates.retain(|candidate| candidate.server != next);
            order.push(next);
        }
        let place = |key| order.iter().position(|known| *known == key).unwrap_or(usize::MAX);
        town.answering.sort_by_key(|server| place(server.key));
        town
    }

    /// The answering servers of each store, the store of the default first.
    fn stores(&self) -> Vec<Vec<Arc<Server>>> {
        let mut stores: Vec<Vec<Arc<Server>>> = Vec::new();
        for server in &self.answering {
            match stores.iter_mut().find(|servers| servers[0].store == server.store) {
                Some(servers) => servers.push(Arc::clone(server)),
                None => stores.push(vec![Arc::clone(server)]),
            }
        }
        stores
    }

    fn silent(&self, concerned: impl Fn(&Server) -> bool) -> Vec<Absence> {
        self.silent.iter().filter(|absence| concerned(&absence.server)).cloned().collect()
    }

    /// The silent servers whose store nobody else answers for.
    fn unheard_stores(&self) -> Vec<Absence> {
        self.silent(|server| self.answering.iter().all(|other| other.store != server.store))
    }
}
