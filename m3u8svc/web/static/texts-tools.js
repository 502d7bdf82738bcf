// What the page of tools says, in both languages. Loaded with that page only.

export const TOOLS_TEXTS = {
  zh: {
    tools: "浏览器工具", toolsIntro: "把正在看的网页里的 m3u8 链接送到这里。打开后只是填好链接，由你点击“添加”。",
    bookmarklet: "书签小程序", bookmarkletName: "发送到 m3u8svc", bookmarkletHow: "把这个按钮拖到浏览器的书签栏。看视频时点一下它。", dragMe: "请把它拖到书签栏，而不是点击。",
    bookmarkletWhat: "它在当前网页请求过的地址里找 m3u8 链接，找不到就用网页自身的地址，然后打开本服务的添加页面。",
    userscript: "用户脚本", userscriptHow: "安装 Tampermonkey 或 Violentmonkey 后打开这个文件。网页请求 m3u8 时，角落会出现一个按钮。",
    userscriptAddress: "脚本需要知道本服务的地址。安装后第一次点击时会询问，请填入：", userscriptInstall: "打开用户脚本",
  },
  en: {
    tools: "Browser tools", toolsIntro: "Send the m3u8 link of a page you are watching here. The link is only filled in; you press Add yourself.",
    bookmarklet: "Bookmarklet", bookmarkletName: "Send to m3u8svc", bookmarkletHow: "Drag this button to the bookmarks bar. Press it there while you watch something.", dragMe: "Drag it to the bookmarks bar instead of pressing it here.",
    bookmarkletWhat: "It looks for m3u8 links among what the page has requested, else takes the page's own address, and opens the form of this service.",
    userscript: "Userscript", userscriptHow: "With Tampermonkey or Violentmonkey installed, open this file. Where a page asks for an m3u8, a button appears in a corner.",
    userscriptAddress: "The script must know where this service is. It asks when you first press its button; the answer is:", userscriptInstall: "Open the userscript",
  },
};
