// Line drawings for buttons, each of one path on a grid of 16.
const PATHS = {
  plus: "M8 3v10M3 8h10",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.3 10.3l3.2 3.2",
  sliders: "M2.5 4.5h6M12 4.5h1.5M2.5 11.5H4M7.5 11.5h6M10.2 6.2a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4ZM5.8 13.2a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4Z",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13.4 9.6A5.6 5.6 0 0 1 6.4 2.6a5.6 5.6 0 1 0 7 7Z",
  send: "M8 13V3.5M3.8 7.5 8 3.2l4.2 4.3",
  stop: "M4.5 4.5h7v7h-7Z",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8Z",
  check: "m3 8.5 3.2 3.2L13 4.8",
  pencil: "m3 10.6-.5 2.9 2.9-.5 7.6-7.6-2.4-2.4L3 10.6ZM9.2 4.4l2.4 2.4",
  retry: "M13 8a5 5 0 1 1-1.5-3.6L13 5.8M13 2.5v3.3H9.7",
  trash: "M2.8 4.3h10.4M6.3 4.3V2.5h3.4v1.8M4.2 4.3l.6 9.2h6.4l.6-9.2",
  close: "m3.8 3.8 8.4 8.4M12.2 3.8l-8.4 8.4",
  left: "M10 3.5 5.5 8l4.5 4.5",
  right: "M6 3.5 10.5 8 6 12.5",
  down: "M8 3v9.5M3.8 8.5 8 12.8l4.2-4.3",
  export: "M8 10V2.5M5 5.2l3-3 3 3M2.8 9.5v4h10.4v-4",
  import: "M8 2.5V10M5 7.3l3 3 3-3M2.8 9.5v4h10.4v-4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
