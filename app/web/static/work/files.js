// Files to upload, from fields and from what was dropped, folders with everything in them.

const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)$/i;
const MANIFEST = /(^|\/)manifest\.(jsonl|csv)$/i;
const PICTURE = /\.(jpe?g|png|webp)$/i;
const VIDEO = /\.(mp4|m4v|mov|mkv|webm|avi|mpg|mpeg|ts|mts|m2ts|3gp|wmv|gif)$/i;
const HIDDEN = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i;

/** The files of a drop, as {file, name}; `name` has the folders. Must be called within the event. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

/** The files of a field. */
export function chosen(files) {
  return [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

/**
 * What is sent of some files: `{archive}`, `{video}`, or `{files, manifest}`. `left`: hidden files of the system, which are not sent.
 * `problem`: why they cannot be one upload.
 */
export function sorted(all) {
  const files = all.filter(({ name }) => !HIDDEN.test(name));
  const left = all.length - files.length;
  const archives = files.filter(({ name }) => ARCHIVE.test(name));
  if (archives.length > 0 && files.length > 1) return { problem: "An archive is uploaded alone: choose one archive, or pictures." };
  if (archives.length === 1) return { archive: archives[0], left };
  const videos = files.filter(({ name }) => VIDEO.test(name));
  if (videos.length > 0 && files.length > 1) return { problem: "Videos are uploaded one by one, each with its camera and its time: choose one video, or pictures." };
  if (videos.length === 1) return { video: videos[0], left };
  const manifests = files.filter(({ name }) => MANIFEST.test(name));
  if (manifests.length > 1) return { problem: `There are ${manifests.length} manifests; upload the folders one by one.` };
  const pictures = files.filter((one) => one !== manifests[0]);
  if (pictures.length === 0) return { problem: manifests.length > 0 ? "There is a manifest, but no picture." : "There are no files in it." };
  // Names in the manifest are relative to its folder.
  const base = manifests.length === 1 ? manifests[0].name.replace(/[^/]*$/, "") : "";
  const named = pictures.map(({ file, name }) => ({ file, name: base && name.startsWith(base) ? name.slice(base.length) : name }));
  return { files: named, manifest: manifests[0] ?? null, left, strange: named.filter(({ name }) => !PICTURE.test(name)).length };
}

/** The form that carries them. */
export function formOf({ archive, files, manifest }) {
  const form = new FormData();
  if (archive) form.append("archive", archive.file, archive.file.name);
  for (const { file, name } of files ?? []) form.append("files", file, name);
  if (manifest) form.append("manifest", manifest.file, manifest.file.name);
  return form;
}

async function walk(entry, found) {
  if (entry instanceof File) {
    found.push({ file: entry, name: entry.name });
  } else if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
  } else {
    const reader = entry.createReader();
    // A reader gives its entries in portions, an empty one at the end.
    for (;;) {
      const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (portion.length === 0) return;
      for (const one of portion) await walk(one, found);
    }
  }
}
