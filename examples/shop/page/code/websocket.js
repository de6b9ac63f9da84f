const socket = new WebSocket(new URL('../ws', task.links.self), ['relais.v1.json', `relais.bearer.${task.ticket}`]);
socket.onopen = () => socket.send(JSON.stringify({ op: 'watch', watch: 'import', task: task.id, after: 0 }));
socket.onmessage = ({ data }) => { const { event } = JSON.parse(data); if (event?.data.result) show(event.data.result); };
