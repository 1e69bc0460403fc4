import { beginCharts } from "./charts.js";
import { beginDrop } from "./drop.js";
import { awaitVerdicts, beginLive } from "./live.js";

beginCharts();
beginDrop();
beginLive();
awaitVerdicts();
document.addEventListener("refreshed", beginCharts);
