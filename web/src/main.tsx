import { render } from "preact";
import { session } from "./api/client";
import { Frame } from "./app/frame";
import { path, scrollBack } from "./app/router";
import { ComparePage } from "./compare/page";
import { t } from "./i18n";
import { JobList } from "./jobs/list";
import { JobView } from "./jobs/page";
import { PlayPage } from "./play/page";
import { StudyView } from "./studies/page";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/jobs.css";
import "./styles/chart.css";
import "./styles/compare.css";
import "./styles/studies.css";
import "./styles/play.css";
import "./styles/media.css";

/** A part of a path, as it is where it is no text that was encoded. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function View() {
  const at = path.value;
  const key = session.value; // another key: every view begins anew
  if (at === "/" || at === "/jobs") return <JobList key={key} />;
  if (at === "/compare") return <ComparePage key={key} />;
  if (at === "/play") return <PlayPage key={key} />;
  const job = /^\/jobs\/([^/]+)$/.exec(at)?.[1];
  if (job) return <JobView key={`${job} ${key}`} id={decoded(job)} />;
  const study = /^\/studies\/([^/]+)$/.exec(at)?.[1];
  if (study) return <StudyView key={`${study} ${key}`} id={decoded(study)} />;
  return <p class="empty">{t("noView")}</p>;
}

render(
  <Frame>
    <View />
  </Frame>,
  document.getElementById("page")!,
);
history.scrollRestoration = "manual"; // what is scrolled comes later than the browser waits for it
scrollBack();
