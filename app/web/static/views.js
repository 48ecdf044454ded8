// The table of views, in the order of the menu. A view is a module with `mount(root, parameters, signal)`: it fills
// `root`, and stops what it began when the signal is aborted. `stays(before, now)`, if it has one, says that a change of
// the address is its own affair. `need`: the scope of the key without which it is not shown: what it asks the server for
// would be refused.

import * as search from "./search/view.js";

export const VIEWS = [
  { name: "search", title: "Search", need: "search", load: async () => search },
  { name: "searches", title: "Past searches", need: "search", load: () => import("./work/searches.js") },
  { name: "identifications", title: "Identifications", need: "search", load: () => import("./work/identifications.js") },
  { name: "gallery", title: "Gallery", need: "ingest", load: () => import("./work/gallery.js") },
  { name: "jobs", title: "Jobs", need: "ingest", load: () => import("./work/jobs.js") },
  { name: "models", title: "Models", load: () => import("./work/models.js") },
  { name: "admin", title: "Admin", need: "admin", load: () => import("./admin/view.js") },
];

/** The first view that a key may use; models are for everybody. */
export function homeOf(session) {
  return VIEWS.find(({ need }) => session.may(need));
}
