// One task. A placeholder until the page of one task is here.

import { html } from "./view.js";

export const TaskPage = ({ id }) => html`<h1>${id}</h1>`;
