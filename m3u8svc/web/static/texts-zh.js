// What the page says in Chinese.

export default {
  other: "English", url: "播放列表链接", filename: "文件名（可留空）", add: "添加任务", empty: "还没有任务。粘贴一个 m3u8 链接开始。",
  pause: "暂停", resume: "继续", remove: "删除", retry: "重试", live: "实时", polling: "轮询", offline: "连接断开",
  left: time => `剩余 ${time}`, segments: "分片", warnings: count => `${count} 条提示`, first: "优先开始", held: "已挂起",
  renew: "用新链接继续", queued: place => `排在第 ${place} 位`,
  user: "用户名（使用令牌时留空）", secret: "令牌或密码", login: "登录", logout: "退出登录",
  loginHint: "在服务所在的机器上运行 m3u8svc token create 可以得到令牌。",
  cancel: "取消", close: "关闭", tasks: "任务", tools: "书签小程序和用户脚本", settings: "设置", plugins: "插件", skip: "跳到内容",
  auto: "跟随系统", light: "浅色", dark: "深色", theme: name => `外观：${name}`,
  removeTitle: count => count === 1 ? "删除任务？" : `删除 ${count} 个任务？`, withFiles: "同时删除已下载的文件",
  removeKept: "不勾选时，已完成的文件会保留。", noteDone: "下载完成", noteFailed: "下载失败",
  notifyDenied: "浏览器不允许通知。请在浏览器的网站设置中允许。", bulkFailed: (count, why) => `${count} 个任务没有成功：${why}`,
  selectTask: name => `选择 ${name}`,
};
