// Runs before the page is drawn, so that it is never drawn in the wrong colours.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = localStorage.getItem('dear-theme');
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? 'dark' : 'light');
  };
  apply();
  dark.addEventListener('change', apply);
  addEventListener('DOMContentLoaded', () => {
    const toggle = document.getElementById('theme');
    const show = () => {
      const isDark = document.documentElement.dataset.theme === 'dark';
      toggle.setAttribute('aria-pressed', String(isDark));
    };
    show();
    dark.addEventListener('change', show);
    toggle.addEventListener('click', () => {
      const isDark = document.documentElement.dataset.theme === 'dark';
      localStorage.setItem('dear-theme', isDark ? 'light' : 'dark');
      apply();
      show();
    });
  });
})();
