import * as api from './api.js';
import { persist } from './connection.js';

const SIZE = 160; // Longest side of a thumbnail, in pixels.

/** The strip of photos that are open. */
export class Strip {
  /**
   * @param {HTMLElement} list
   * @param {object} on
   * @param {(entry) => void} on.choose
   * @param {(entry) => void} on.remove
   */
  constructor(list, on) {
    this._list = list;
    this._on = on;
    this._items = new Map(); // Entry -> its elements.
  }

  /** Shows these photos. @param {import('./desk.js').Entry[]} entries */
  show(entries) {
    for (const [entry, { item }] of this._items) {
      if (entries.includes(entry)) continue;
      item.remove();
      this._items.delete(entry);
    }
    for (const entry of entries) {
      if (!this._items.has(entry)) this._items.set(entry, this._make(entry));
      this.update(entry);
    }
  }

  /** Shows which photo is on the stage. */
  choose(entry) {
    for (const [other, { choose, item }] of this._items) {
      if (other === entry) {
        choose.setAttribute('aria-current', 'true');
        item.scrollIntoView({ block: 'nearest', inline: 'nearest' });
      } else {
        choose.removeAttribute('aria-current');
      }
    }
  }

  /** Shows how it stands with a photo. @param {import('./desk.js').Entry} entry */
  update(entry) {
    const parts = this._items.get(entry);
    if (!parts) return;
    const { state, share, words } = standing(entry);
    parts.item.dataset.state = state;
    parts.bar.style.transform = `scaleX(${share})`;
    parts.choose.setAttribute('aria-label', `${entry.name}, ${words}`);
    parts.choose.title = entry.sentence ? `${entry.name}: ${entry.sentence}` : entry.name;
    if (entry.photo && parts.drawn !== entry.photo.id) {
      parts.drawn = entry.photo.id;
      draw(entry.photo, parts.picture).catch(() => {});
    }
  }

  _make(entry) {
    const item = element('li', 'photo');
    const choose = element('button', 'photo-choose');
    const picture = element('canvas', 'photo-picture');
    const bar = element('span', 'photo-bar');
    const name = element('span', 'photo-name');
    const badge = element('span', 'photo-badge');
    const remove = element('button', 'photo-remove');
    choose.type = remove.type = 'button';
    picture.width = picture.height = SIZE;
    picture.setAttribute('aria-hidden', 'true');
    name.textContent = entry.name;
    badge.setAttribute('aria-hidden', 'true');
    remove.setAttribute('aria-label', `Remove ${entry.name}`);
    remove.title = 'Remove';
    choose.append(picture, badge, bar, name);
    item.append(choose, remove);
    choose.addEventListener('click', () => this._on.choose(entry));
    remove.addEventListener('click', () => this._on.remove(entry));
    this._list.append(item);
    return { item, choose, picture, bar };
  }
}

/** How it stands with a photo: a word for its looks, a share, and words. */
function standing(entry) {
  const { state, job, photo } = entry;
  if (state === 'failed' || state === 'gone') return { state: 'failed', share: 0, words: entry.sentence };
  if (state === 'sending') {
    return { state: 'busy', share: entry.sent, words: `${Math.round(entry.sent * 100)} % sent` };
  }
  if (job) {
    const words = job.state === 'queued' ? 'waits' : `${Math.round(job.progress * 100)} % done`;
    return { state: job.state === 'queued' ? 'waits' : 'busy', share: job.progress, words };
  }
  if (entry.sentence) return { state: 'failed', share: 0, words: entry.sentence };
  if (photo.result) return { state: 'done', share: 0, words: 'restored' };
  if (photo.mask) return { state: 'marked', share: 0, words: 'marked' };
  return { state: 'open', share: 0, words: 'opened' };
}

async function draw(photo, canvas) {
  const scale = Math.min(1, SIZE / Math.max(photo.width, photo.height));
  const [width, height] = [photo.width, photo.height].map((n) => Math.max(1, Math.round(n * scale)));
  const image = await persist(() => api.picture(photo.id, null, width, height));
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext('2d').drawImage(image, 0, 0);
  image.close();
}

function element(tag, name) {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}
