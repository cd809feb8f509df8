import * as api from './api.js';
import { Compare } from './compare.js';
import { isOnline, line, online, persist } from './connection.js';
import { Controls } from './controls.js';
import { Desk } from './desk.js';
import { watchFiles } from './files.js';
import { watchKeys } from './keys.js';
import { MarkButtons } from './marks.js';
import { Messages, timeInWords } from './messages.js';
import { Results } from './results.js';
import { Strip } from './strip.js';
import { Tools } from './tools.js';
import { Viewer } from './viewer.js';
import { Work } from './work.js';

const CHOSEN = 'dear-photo'; // Where the browser keeps which photo is shown.
const $ = (id) => document.getElementById(id);

const messages = new Messages($('message-box'), $('message'), $('message-close'));
const desk = new Desk();
const work = new Work(desk);
const viewer = new Viewer($('stage'), () => showView());
const compare = new Compare($('compare'), viewer);
const tools = new Tools(viewer, $('brush-size'), (sentence) => messages.say(sentence));
const strip = new Strip($('strip'), { choose, remove });
const controls = new Controls(showAction);
const page = { current: null, viewer, compare, tools, desk, work, controls, messages, choose, showMode };
let shown = null; // What the server said last of the photo on the stage.
const marks = new MarkButtons(page);
const results = new Results(page);

/** Puts a photo on the stage. @param {?import('./desk.js').Entry} entry */
function choose(entry) {
  const other = page.current !== entry;
  page.current = entry;
  $('desk').dataset.state = entry ? 'open' : 'empty';
  strip.choose(entry);
  if (other) messages.clear();
  if (!entry) {
    show(null);
    return;
  }
  if (other || entry.state !== 'here') show(null);
  if (entry.state !== 'here') {
    controls.setPhoto(null);
    $('stage').setAttribute('aria-label', entry.name);
    return;
  }
  const { id, width, height, remarks } = entry.photo;
  localStorage.setItem(CHOSEN, id);
  if (other && remarks.length) messages.say(remarks.join('. '));
  shown = entry.photo;
  viewer.view.setPhoto(width, height);
  $('stage').setAttribute('aria-label', `${entry.name}, ${width} by ${height} pixels`);
  controls.setPhoto(entry.photo);
  marks.fitBrush(entry.photo);
  desk.track(desk.prepare(entry)).then(
    () => page.current === entry && show(entry),
    (error) => page.current === entry && messages.fail(error),
  );
}

/** Shows what there is of a photo. */
function show(entry) {
  viewer.before = entry?.before ?? null;
  viewer.after = entry?.after ?? null;
  tools.setHistory(entry?.history ?? null);
  viewer.setMarks(entry?.history ?? null);
  showMode(Boolean(entry?.photo?.result) && entry.shows !== 'marks');
  marks.show();
  showWait();
  viewer.moved();
}

/** Shows the result, or the marks. @param {boolean} result */
function showMode(result) {
  const entry = page.current;
  const shown = result && Boolean(entry?.photo?.result);
  if (shown !== viewer.showsResult) $('panel-scroll').scrollTop = 0;
  if (entry) entry.shows = shown ? 'result' : entry.photo?.result ? 'marks' : undefined;
  viewer.showsResult = shown;
  results.show(entry, shown);
  tools.choose(tools.tool);
  showAction();
  viewer.moved();
}

function showView() {
  compare.place();
  const zoom = viewer.zoom * 100;
  $('zoom-value').textContent = `${zoom < 10 ? zoom.toFixed(1) : Math.round(zoom)} %`;
}

/** Shows what can be done now, and how far it is. */
function showAction() {
  const entry = page.current;
  const job = entry?.job ?? null;
  const here = entry?.state === 'here';
  $('restore').disabled = !here || !controls.possible || !isOnline();
  $('restore').hidden = job !== null;
  $('restore').textContent = entry?.photo?.result ? 'Restore again' : 'Restore';
  $('restore').classList.toggle('primary', !viewer.showsResult);
  if (job && document.activeElement === $('restore')) requestAnimationFrame(() => $('cancel').focus());
  $('cancel').hidden = job === null;
  $('progress-row').dataset.on = String(job !== null);
  const percent = Math.round((job?.progress ?? 0) * 100);
  $('progress').setAttribute('aria-valuenow', percent);
  $('progress').toggleAttribute('data-waits', job !== null && percent === 0);
  $('progress-bar').style.transform = job && percent === 0 ? '' : `scaleX(${percent / 100})`;
  $('progress-text').textContent = job ? progressInWords(job, percent) : '';
  const open = desk.entries.filter(({ state }) => state === 'here');
  $('all-part').hidden = desk.entries.length < 2;
  $('find-all').disabled = $('restore-all').disabled = !open.length || !isOnline();
  $('zip').disabled = !open.some(({ photo }) => photo.result);
  marks.showJob(job);
}

function progressInWords(job, percent) {
  if (job.state === 'queued') return job.ahead ? `waits for ${job.ahead} before it` : 'waits';
  const left = job.seconds_left === null ? '' : `, ${timeInWords(job.seconds_left)} left`;
  return `${percent} %${left}`;
}

function showWait() {
  const entry = page.current;
  let words = '';
  if (entry?.state === 'sending') words = 'Opening the photo';
  else if (entry?.state === 'here' && !viewer.before) words = 'Opening the photo';
  else if (viewer.showsResult && !viewer.after?.ready) words = 'Loading the result';
  else if (viewer.showsResult && viewer.after?.loading) words = 'Drawing this part sharply';
  else if (viewer.before?.loading) words = 'Loading this part';
  $('waiting').hidden = !words;
  if (words) $('waiting-text').textContent = words;
  const failed = entry !== null && ['failed', 'gone'].includes(entry?.state);
  $('failed').hidden = !failed;
  if (failed) $('failed-text').textContent = entry.sentence;
}

async function remove(entry) {
  const at = desk.entries.indexOf(entry);
  await desk.remove(entry);
  if (page.current !== entry) return;
  const next = desk.entries[Math.min(at, desk.entries.length - 1)] ?? null;
  choose(next);
  (next ? $('strip').querySelector('[aria-current]') : $('choose'))?.focus();
}

function open(files) {
  const entries = desk.open(files);
  if (entries.length) choose(entries[0]);
}

/** Goes on with what was under way when the page was loaded. */
async function goOn(entry) {
  const job = await work.resume(entry);
  if (job) results.ended(entry, job);
}

desk.addEventListener('list', () => {
  strip.show(desk.entries);
  strip.choose(page.current);
  showAction();
});
desk.addEventListener('entry', ({ detail: entry }) => {
  strip.update(entry);
  if (entry === page.current) {
    if (entry.state === 'here' && entry.photo.id !== shown?.id) choose(entry);
    else if (entry.state === 'here' && entry.photo !== shown) controls.setPhoto(entry.photo);
    shown = entry.photo;
    viewer.after = entry.after;
    results.show(entry, viewer.showsResult);
  }
  showAction();
  showWait();
});
desk.addEventListener('picture', ({ detail: entry }) => {
  if (entry !== page.current) return;
  viewer.before = entry.before;
  viewer.after = entry.after;
  viewer.redraw();
  showWait();
});
line.addEventListener('lost', () => {
  $('banner').hidden = false;
  showAction();
});
line.addEventListener('back', () => {
  $('banner').hidden = true;
  viewer.redraw();
  showAction();
  controls.replan();
});

for (const [id, action] of Object.entries({
  'zoom-in': () => viewer.zoomBy(1.5),
  'zoom-out': () => viewer.zoomBy(1 / 1.5),
  'zoom-fit': () => viewer.fit(),
  'mode-marks': () => showMode(false),
  'mode-result': () => showMode(true),
  back: () => showMode(false),
  keys: () => $('help').showModal(),
  'help-close': () => $('help').close(),
  'failed-remove': () => remove(page.current),
})) {
  $(id).addEventListener('click', action);
}
watchFiles(open, $('choose'), $('add'), $('drop'));
watchKeys(page);

async function start() {
  await online();
  const about = await persist(() => api.about());
  controls.setAbout(about);
  desk.maxBytes = about.max_bytes;
  await persist(() => desk.recall());
  const kept = localStorage.getItem(CHOSEN);
  const chosen = desk.entries.find(({ photo }) => photo?.id === kept) ?? desk.entries.at(-1);
  if (chosen && !page.current) choose(chosen);
  for (const entry of desk.entries) if (entry.photo?.job) goOn(entry);
}

const started = start().catch((error) => messages.fail(error));

/** For tests, and for the curious. */
window.dearPage = {
  ready: async () => {
    await started;
    await desk.rest();
  },
  viewer,
  mask: () => page.current?.history?.mask.data.slice() ?? new Uint8Array(),
};
