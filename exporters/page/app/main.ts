import './style.css';
import 'uplot/dist/uPlot.min.css';
import { setText } from './dom.ts';
import { eventsView } from './events.ts';
import { flowsView } from './flows.ts';
import { type Live, type LiveState, openLive } from './live.ts';
import { pipelineView } from './pipeline.ts';
import { podView } from './pod.ts';
import { podsView } from './pods.ts';
import type { Shell, View } from './view.ts';

const main = document.querySelector('main')!;
const [state, node, version] = ['state', 'node', 'version'].map((id) => document.getElementById(id)!) as [
  HTMLElement,
  HTMLElement,
  HTMLElement,
];
const tabs = [...document.querySelectorAll<HTMLAnchorElement>('nav a')];

let view: View | undefined;
let live: Live | undefined;

const views: Readonly<Record<string, (shell: Shell, key: string) => View>> = {
  pods: podsView,
  pod: podView,
  events: eventsView,
  flows: flowsView,
  pipeline: pipelineView,
};

function show(): void {
  const [path = '', search = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
  if (path === 'main') return;
  const [name = 'pods', ...rest] = path.split('/').filter(Boolean);
  const make = views[name] ?? podsView;
  view?.close?.();
  main.replaceChildren();
  main.className = `view-${name in views ? name : 'pods'}`;
  const shell: Shell = {
    root: main,
    query: new URLSearchParams(search),
    reopen(query) {
      const text = query.toString();
      history.replaceState(null, '', `#/${path}${text ? `?${text}` : ''}`);
      if (view) connect(view);
    },
  };
  view = make(shell, decodeURIComponent(rest.join('/')));
  for (const tab of tabs) {
    const isHere =
      tab.getAttribute('href') === `#/${name}` || (name === 'pod' && tab.getAttribute('href') === '#/pods');
    if (isHere) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
  }
  document.title = `${view.title} · skoopline`;
  connect(view);
}

function connect(to: View): void {
  live?.close();
  setState('connecting');
  live = openLive(to.topic(), {
    message: (message) => to.update(message),
    state: setState,
    hello(hello) {
      setText(node, hello.node);
      setText(version, `skoopline ${hello.version}`);
    },
  });
}

function setState(now: LiveState): void {
  state.dataset['state'] = now;
  setText(state, now === 'live' ? 'live' : now === 'lost' ? 'connection lost, trying again' : 'connecting');
}

addEventListener('hashchange', show);
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === 'Escape' && isTyping) (event.target as HTMLElement).blur();
  if (isTyping) return;
  if (/^[1-4]$/.test(event.key)) {
    tabs[Number(event.key) - 1]?.click();
  } else if (event.key === '/') {
    event.preventDefault();
    main.querySelector<HTMLInputElement>('input')?.focus();
  } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    moveInRows(event);
  }
});

/** From the link of a row to that of the next. */
function moveInRows(event: KeyboardEvent): void {
  const links = [...main.querySelectorAll<HTMLElement>('tbody th a, tbody th summary, tbody th button')];
  const here = links.indexOf(document.activeElement as HTMLElement);
  const isOnPage = document.activeElement === document.body || document.activeElement === main;
  if (links.length === 0 || (here < 0 && !isOnPage)) return;
  const next = event.key === 'ArrowDown' ? here + 1 : Math.max(0, here - 1);
  event.preventDefault();
  links[Math.min(next, links.length - 1)]?.focus();
}

show();
