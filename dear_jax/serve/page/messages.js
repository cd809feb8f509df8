const SHOWN = 6000; // Milliseconds that a message stays, if nothing is wrong.

/** The page's one line for messages. Screen readers read it out. */
export class Messages {
  /**
   * @param {HTMLElement} box Holds the line and the button that closes it.
   * @param {HTMLElement} text
   * @param {HTMLElement} close
   */
  constructor(box, text, close) {
    this._box = box;
    this._text = text;
    this._timer = 0;
    close.addEventListener('click', () => this.clear());
  }

  /** Tells something that is well. It goes by itself. @param {string} sentence */
  say(sentence) {
    this._show(sentence, 'well');
    this._timer = setTimeout(() => this.clear(), SHOWN);
  }

  /** Tells what went wrong. It stays. @param {unknown} error An error, or a sentence. */
  fail(error) {
    this._show(sentenceOf(error), 'wrong');
  }

  /** Takes the message away. */
  clear() {
    clearTimeout(this._timer);
    this._box.dataset.kind = '';
    this._text.textContent = '';
  }

  _show(sentence, kind) {
    clearTimeout(this._timer);
    this._text.textContent = sentence;
    this._box.dataset.kind = kind;
  }
}

/** What an error says to a person. @param {unknown} error @returns {string} */
export function sentenceOf(error) {
  return asSentence(error instanceof Error ? error.message : String(error));
}

/** Words as a sentence. @param {string} words @returns {string} */
export function asSentence(words) {
  const end = /[.!?…]$/.test(words) ? '' : '.';
  const named = /^\S*[.:]/.test(words); // It begins with a file's name.
  return (named ? words : words.charAt(0).toUpperCase() + words.slice(1)) + end;
}

/** A number of bytes in words. @param {number} bytes @returns {string} */
export function sizeInWords(bytes) {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const unit = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** unit;
  return `${value < 10 && unit > 1 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A span of time in words. @param {number} seconds @returns {string} */
export function timeInWords(seconds) {
  if (seconds < 1.5) return 'a second';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
