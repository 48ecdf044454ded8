// What the actions of the audit are called: "front desk searched by words". By kind, for the filter.

export const KINDS = [
  ["search", "Searches", {
    "search.text": "searched by words", "search.image": "searched by a picture", "search.composed": "searched by several parts",
    "search.again": "asked a search again", "search.cli": "searched at the command line", "search.subject": "looked for the person of a request by a picture",
  }],
  ["view", "Views", {
    "view.identity": "looked at a person", "view.timeline": "looked at a timeline", "view.history": "looked at the history of a person",
    "view.image": "looked at what is known of an image", "view.file": "saw an image", "view.thumbnail": "saw a thumbnail",
    "view.support": "asked what supports a candidate", "view.heatmap": "saw the heat of an image", "view.facets": "looked at the filters there are",
    "view.queries": "looked at past searches", "view.query": "looked at a past search", "view.feedback": "looked at verdicts",
    "view.identifications": "looked at identifications", "view.identification": "looked at an identification",
    "view.subject": "looked at all that is known of a person", "view.retention": "looked at the rules of retention",
  }],
  ["export", "Exports", {
    "export.results": "exported the results of a search", "export.create": "began an export", "export.download": "downloaded the file of a job",
    "export.feedback": "exported verdicts", "export.subject": "exported all that is known of a person", "export.backup": "made a backup",
  }],
  ["change", "Changes", {
    "change.ingest": "took in pictures or a video", "change.collection": "made a collection", "change.identity": "changed a person",
    "change.identity.merge": "merged people", "change.identity.split": "split a person", "change.identity.delete": "deleted a person",
    "change.image": "changed an image", "change.image.delete": "deleted an image", "change.images": "swept the pictures' store",
    "change.association": "grouped people", "change.association.undo": "took a grouping back",
    "change.query": "saved or renamed a search, or said what it is for", "change.query.delete": "deleted a past search",
    "change.feedback": "gave verdicts", "change.feedback.delete": "took a verdict back",
    "change.identification": "proposed an identification", "change.identification.confirm": "confirmed an identification",
    "change.identification.refuse": "refused an identification", "change.identification.withdraw": "withdrew an identification",
    "change.model": "registered or measured a model version", "change.model.activate": "activated a model version",
    "change.model.rollback": "rolled a model version back", "change.model.encode": "had the gallery encoded", "change.model.delete": "deleted a model version",
    "change.retraining": "asked for a retraining", "change.index": "changed the index", "change.job.cancel": "cancelled a job",
    "change.job.retry": "tried a job again", "change.retention": "set the rules of retention", "change.erase": "erased people or images",
    "change.restore": "restored a backup",
  }],
  ["key", "Keys", {
    "key.create": "made a key", "key.rotate": "rotated a key", "key.revoke": "revoked a key", "key.list": "looked at the keys", "key.view": "looked at a key",
  }],
  ["session", "Sign-ins", { "session.begin": "signed in" }],
  ["audit", "The audit", { "audit.list": "read the audit", "audit.verify": "verified the audit", "audit.export": "exported the audit", "audit.prune": "removed old entries of the audit" }],
];

/** Actions without a kind. */
export const OTHERS = { refusal: "was refused", other: "asked for something that has no name" };

const WORDS = Object.assign({}, ...KINDS.map(([, , actions]) => actions), OTHERS);

/** What an action is called, or its code. */
export function inWords(action) {
  return WORDS[action] ?? action;
}
