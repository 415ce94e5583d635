/**
 * Elements from data. Text only ever becomes a text node: there is no way from here to markup, and the page's policy (trusted types) forbids any
 * other.
 */

export type Child = Node | string | number | undefined | null | false;
type Handler = (event: never) => void;
export type Attributes = Readonly<Record<string, string | number | boolean | undefined | Handler>>;

const svgNamespace = 'http://www.w3.org/2000/svg';

/** An HTML element. `undefined` and `false` leave an attribute out, `true` sets it empty, functions listen. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS(svgNamespace, tag), attributes, children);
}

function filled<T extends Element>(element: T, attributes: Attributes, children: readonly Child[]): T {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value as EventListener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...shown(children));
  return element;
}

/** Writes a text where it differs: what stays the same keeps its selection, and costs no layout. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces children. */
export function put(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren(...shown(children));
}

/** Replaces children only when what they are made from has changed. */
export function putNew(element: Element, basis: string, make: () => readonly Child[]): void {
  if (basisOf.get(element) === basis) return;
  basisOf.set(element, basis);
  put(element, ...make());
}

function shown(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((c) =>
    c === undefined || c === null || c === false ? [] : typeof c === 'number' ? String(c) : c,
  );
}

const basisOf = new WeakMap<Element, string>();

/** A colour of the style sheet as a canvas takes it: of the scheme that is on. */
export function cssColor(name: string): string {
  probe ??= document.body.appendChild(h('i', { hidden: true }));
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

let probe: HTMLElement | undefined;
