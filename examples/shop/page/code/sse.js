const events = new EventSource(task.links.events);   // comes back by itself after a cut, where it was
events.addEventListener('progressed', (event) => bar(JSON.parse(event.data).data.percent));
events.addEventListener('succeeded', (event) => { events.close(); show(JSON.parse(event.data).data.result); });
