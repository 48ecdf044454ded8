// The table of views, in the order of the menu. A view is a module with `mount(root, parameters, signal)`: it fills
// `root`, and stops what it began when the signal is aborted. `stays(before, now)`, if it has one, says that a change of
// the address is its own affair. Further views, such as those for administrators, are lines of this table.

import * as search from "./search/view.js";

export const VIEWS = [
  { name: "search", title: "Search", load: async () => search },
  { name: "searches", title: "Past searches", load: () => import("./work/searches.js") },
  { name: "identifications", title: "Identifications", load: () => import("./work/identifications.js") },
  { name: "gallery", title: "Gallery", load: () => import("./work/gallery.js") },
  { name: "jobs", title: "Jobs", load: () => import("./work/jobs.js") },
  { name: "models", title: "Models", load: () => import("./work/models.js") },
];
