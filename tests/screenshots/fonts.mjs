// One font for all pictures, whatever the machine calls its own.

import { mkdirSync, writeFileSync } from 'node:fs';

const FONT = 'Inter';

/** Before Chromium is launched in the scope. */
export function fonts(scope) {
  const directory = scope.path('home-chromium/.config/fontconfig');
  mkdirSync(directory, { recursive: true });
  const alias = (family) => `<match target="pattern"><test name="family"><string>${family}</string></test>`
    + `<edit name="family" mode="prepend" binding="strong"><string>${FONT}</string></edit></match>`;
  writeFileSync(`${directory}/fonts.conf`,
    `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>${['system-ui', 'sans-serif'].map(alias).join('')}</fontconfig>`);
}
