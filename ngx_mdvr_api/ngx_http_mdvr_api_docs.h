
/*
 * The page behind GET /docs: self-contained, shows /openapi.json.  Style and
 * script stand in the page and are allowed by their hashes.
 */


#ifndef _NGX_HTTP_MDVR_API_DOCS_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_DOCS_H_INCLUDED_


#define NGX_HTTP_MDVR_API_DOCS_STYLE                                          \
    "body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;"  \
    "padding:1rem 1.5rem;color:#1c2733;background:#fff}"                      \
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;"           \
    "border-bottom:1px solid #d5dde5}"                                        \
    "details{border:1px solid #d5dde5;border-radius:6px;margin:.35rem 0}"     \
    "summary{cursor:pointer;padding:.4rem .7rem}"                             \
    "summary code{font-weight:600}"                                           \
    ".m{display:inline-block;min-width:4.2rem;font-weight:700;"               \
    "text-transform:uppercase;font-size:.8rem;color:#0b5fa5}"                 \
    ".d{padding:.2rem .9rem .8rem}pre{background:#f4f7fa;padding:.7rem;"      \
    "overflow:auto;border-radius:6px;font-size:.85rem}"                       \
    "table{border-collapse:collapse}td,th{text-align:left;padding:.15rem "    \
    ".8rem .15rem 0;vertical-align:top}"                                      \
    "@media(prefers-color-scheme:dark){body{background:#12181f;"              \
    "color:#dde5ee}pre{background:#1b242e}details,h2{border-color:#2c3a48}"   \
    ".m{color:#6db3f2}}"

#define NGX_HTTP_MDVR_API_DOCS_SCRIPT                                         \
    "(async()=>{const $=(t,p,x)=>{const e=document.createElement(t);"         \
    "if(x!==undefined)e.textContent=x;p.append(e);return e};"                 \
    "const main=document.querySelector('main');"                              \
    "const doc=await(await fetch('openapi.json')).json();"                    \
    "main.textContent='';$('h1',main,doc.info.title);"                        \
    "$('p',main,doc.info.description);"                                       \
    "const seen={};"                                                          \
    "const name=s=>!s?'':s.$ref?s.$ref.split('/').pop():"                     \
    "s.type==='array'?name(s.items)+'[]':s.enum?s.enum.join(' | '):"          \
    "s.anyOf?s.anyOf.map(name).join(' | '):"                                  \
    "[].concat(s.type||'any').join(' | ')+(s.format?' '+s.format:'');"        \
    "const table=(p,s)=>{if(!s)return;if(s.$ref)"                             \
    "s=doc.components.schemas[s.$ref.split('/').pop()];"                      \
    "if(!s.properties)return;const t=$('table',p);"                           \
    "for(const[k,v]of Object.entries(s.properties)){const r=$('tr',t);"       \
    "$('td',r,k+((s.required||[]).includes(k)?'':'?'));$('td',r,name(v));"    \
    "$('td',r,v.description||'')}"                                            \
    "for(const x of s.examples||[])$('pre',p,JSON.stringify(x,null,1))};"     \
    "for(const[path,ops]of Object.entries(doc.paths)){"                       \
    "const tag=path.split('/')[1];"                                           \
    "const sec=seen[tag]||(seen[tag]=$('section',main));"                     \
    "if(!sec.firstChild)$('h2',sec,tag);"                                     \
    "for(const[m,o]of Object.entries(ops)){const d=$('details',sec),"         \
    "s=$('summary',d);const b=$('span',s,m);b.className='m';"                 \
    "$('code',s,path);$('span',s,'  '+(o.summary||''));"                      \
    "const c=$('div',d);c.className='d';"                                     \
    "const sc=((o.security||[])[0]||{}).bearer;"                              \
    "$('p',c,sc?'Bearer token'+(sc.length?', scope '+sc.join(' '):''):"       \
    "'No token');"                                                            \
    "if((o.parameters||[]).length){const t=$('table',c);"                     \
    "for(const p of o.parameters){const r=$('tr',t);$('td',r,p.name);"        \
    "$('td',r,p.in);$('td',r,name(p.schema));"                                \
    "$('td',r,p.description||p.schema.description||'')}}"                     \
    "const rb=o.requestBody&&o.requestBody.content;"                          \
    "if(rb)for(const[t,x]of Object.entries(rb)){$('h4',c,'Request '+t);"      \
    "table(c,x.schema);for(const[k,e]of Object.entries(x.examples||{})){"     \
    "$('p',c,k);$('pre',c,JSON.stringify(e.value,null,1))}}"                  \
    "for(const[st,a]of Object.entries(o.responses)){$('h4',c,'Answer '+st);"  \
    "const j=a.content&&a.content['application/json'];"                       \
    "if(j){$('p',c,name(j.schema));table(c,j.schema.properties&&"             \
    "j.schema.properties.items?j.schema.properties.items.items:j.schema)}"    \
    "}}}})();"

#define NGX_HTTP_MDVR_API_DOCS_PAGE(style, script)                            \
    "<!doctype html><html lang=en><meta charset=utf-8>"                       \
    "<meta name=viewport content='width=device-width'>"                       \
    "<title>MDVR platform API</title><style>" style "</style>"                \
    "<main>Loading ...</main><script>" script "</script></html>"


#endif /* _NGX_HTTP_MDVR_API_DOCS_H_INCLUDED_ */
