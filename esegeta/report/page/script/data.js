// What the page was handed: cases and maps, and how its elements are found.

const data = JSON.parse(document.getElementById("report-data").textContent);
const cases = new Map(data.cases.map((one) => [one.id, one]));
const maps = new Map(data.maps.map((one) => [one.id, one]));
const $ = (id) => document.getElementById(id);
