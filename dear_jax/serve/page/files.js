/**
 * Takes files that are dropped, pasted or chosen.
 * @param {(files: File[]) => void} open
 * @param {HTMLInputElement} input
 * @param {HTMLElement} button Opens the choice too.
 * @param {HTMLElement} sign Shown while files are held over the page.
 */
export function watchFiles(open, input, button, sign) {
  const take = (list) => {
    const files = [...(list ?? [])];
    if (files.length) open(files);
    return files.length > 0;
  };
  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    take(input.files);
    input.value = ''; // So that the same file can be chosen again.
  });
  document.addEventListener('paste', (event) => {
    if (take(event.clipboardData?.files)) event.preventDefault();
  });
  watchDrops(take, sign);
}

function watchDrops(take, sign) {
  const holdsFiles = (event) => event.dataTransfer?.types.includes('Files') ?? false;
  document.addEventListener('dragover', (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    sign.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) sign.hidden = true; // It left the page.
  });
  document.addEventListener('drop', (event) => {
    sign.hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}

/**
 * Saves something that the page made.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  saveUrl(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * Saves something that the server has, without holding it in the page.
 * @param {string} url
 * @param {string} [name] If the server does not name it.
 */
export function saveUrl(url, name = '') {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}
