/*
 * lua_xpath.c: require "gyre.xpath": XPath 1.0 on HTML pages, by libxml2.
 *
 * Owns documents and handles on their elements, both userdata: an element keeps its document alive. Nothing is fetched,
 * and no entity of a page is expanded beyond HTML's own.
 *
 *   parse(page, content_type | nil) -> node, the document
 *   html(node, base_url) -> { title =, links = } | nil               of the whole document; nil: the tree is not all of the page
 *   release(node)                                                   frees the document, if nobody can hold an element of it
 *   node:xpath(expression) -> list | string | number | boolean      raises: the expression is none
 *   node:text() -> string       node:attr(name) -> string | nil     node:name() -> string
 *
 * A list holds a node for each element, and a string for each attribute or text.
 */
#include "lua_job.h"

#include <string.h>

#include <libxml/HTMLparser.h>
#include <libxml/HTMLtree.h>
#include <libxml/xpath.h>

#include "html.h"

static const char document_name[] = "gyre.document", node_name[] = "gyre.node";

struct document {
    xmlDocPtr tree;
    int whole;  /* all of the page is in it */
    int shared; /* there are, or were, handles on its elements */
};

/* Its environment table holds the document at [1]: alive as long as the node is. */
struct node {
    struct document *document;
    xmlNodePtr element; /* NULL: of a document that has been released */
};

static struct node *check(lua_State *L)
{
    struct node *node = luaL_checkudata(L, 1, node_name);
    if (!node->element) luaL_error(L, "the document has been released");
    return node;
}

static void free_tree(struct document *document)
{
    if (document->tree) xmlFreeDoc(document->tree);
    document->tree = NULL;
}

/* __gc */
static int document_gc(lua_State *L)
{
    free_tree(lua_touserdata(L, 1));
    return 0;
}

/*
 * stack: node -> -. Of the document. A collector does not know how large a tree is and comes late: trees then lie about in
 * hundreds, and each is made in memory that is cold.
 */
static int release(lua_State *L)
{
    struct node *node = luaL_checkudata(L, 1, node_name);
    if (node->document->shared) return 0;
    node->element = NULL;
    free_tree(node->document);
    return 0;
}

/* `keeper` is the index of a table with the document at [1]. stack: ... -> ... node */
static void push_node(lua_State *L, int keeper, struct document *document, xmlNodePtr element)
{
    struct node *node = lua_newuserdata(L, sizeof *node);
    node->document = document;
    node->element = element;
    luaL_getmetatable(L, node_name);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, keeper);
    lua_setfenv(L, -2);
}

/* stack: page content_type -> node */
static int parse(lua_State *L)
{
    size_t size;
    const char *page = luaL_checklstring(L, 1, &size);
    const char *content_type = luaL_optstring(L, 2, NULL);

    lua_settop(L, 2);
    lua_createtable(L, 1, 0); /* stack: page content_type keeper */
    struct document *document = lua_newuserdata(L, sizeof *document); /* stack: ... keeper document */
    *document = (struct document){0};
    luaL_getmetatable(L, document_name);
    lua_setmetatable(L, -2);
    document->tree = gyre__html_tree(page, size, content_type, &document->whole);
    if (!document->tree) document->tree = htmlNewDoc(NULL, NULL);
    if (!document->tree) return luaL_error(L, "not enough memory");
    lua_rawseti(L, 3, 1); /* stack: page content_type keeper */
    push_node(L, 3, document, (xmlNodePtr)document->tree);
    return 1;
}

/* stack: node base_url -> { title =, links = } | nil */
static int html(lua_State *L)
{
    const struct node *node = check(L);
    const char *base_url = luaL_checkstring(L, 2);
    return node->document->whole ? gyre__job_push_html(L, node->document->tree, base_url) : 0;
}

/* stack: ... -> ... text; frees it */
static void push_text(lua_State *L, xmlChar *text)
{
    lua_pushstring(L, text ? (const char *)text : "");
    xmlFree(text);
}

/* An XPath evaluation, in a userdata so that an error of Lua's leaks nothing. */
struct evaluation {
    xmlXPathContextPtr context;
    xmlXPathObjectPtr result;
};

static void end_evaluation(struct evaluation *evaluation)
{
    if (evaluation->result) xmlXPathFreeObject(evaluation->result);
    if (evaluation->context) xmlXPathFreeContext(evaluation->context);
    evaluation->result = NULL;
    evaluation->context = NULL;
}

/* __gc */
static int evaluation_gc(lua_State *L)
{
    end_evaluation(lua_touserdata(L, 1));
    return 0;
}

static void keep_quiet(void *data, xmlErrorPtr error)
{
    (void)data, (void)error;
}

/* stack: node expression keeper evaluation -> ... list */
static void push_nodes(lua_State *L, const struct node *node, xmlNodeSetPtr set)
{
    int count = set ? set->nodeNr : 0;

    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        xmlNodePtr found = set->nodeTab[i];
        if (found->type == XML_ELEMENT_NODE || found->type == XML_HTML_DOCUMENT_NODE) {
            node->document->shared = 1;
            push_node(L, 3, node->document, found);
        } else push_text(L, xmlNodeGetContent(found));
        lua_rawseti(L, -2, i + 1);
    }
}

/* stack: node expression keeper evaluation -> ... value */
static void push_value(lua_State *L, const struct node *node, xmlXPathObjectPtr result)
{
    switch (result->type) {
    case XPATH_BOOLEAN: lua_pushboolean(L, result->boolval); break;
    case XPATH_NUMBER: lua_pushnumber(L, result->floatval); break;
    case XPATH_STRING: lua_pushstring(L, (const char *)result->stringval); break;
    case XPATH_NODESET: push_nodes(L, node, result->nodesetval); break;
    default: lua_newtable(L); break;
    }
}

/* stack: node expression -> list | string | number | boolean */
static int node_xpath(lua_State *L)
{
    struct node *node = check(L);
    const char *expression = luaL_checkstring(L, 2);

    lua_settop(L, 2);
    lua_getfenv(L, 1); /* stack: node expression keeper */
    struct evaluation *evaluation = lua_newuserdata(L, sizeof *evaluation); /* stack: ... evaluation */
    memset(evaluation, 0, sizeof *evaluation);
    luaL_getmetatable(L, "gyre.evaluation");
    lua_setmetatable(L, -2);
    if (!(evaluation->context = xmlXPathNewContext(node->document->tree))) return luaL_error(L, "not enough memory");
    evaluation->context->error = keep_quiet;
    evaluation->context->node = node->element;
    evaluation->result = xmlXPathEvalExpression((const xmlChar *)expression, evaluation->context);
    if (!evaluation->result) return luaL_error(L, "'%s' is no XPath expression", expression);
    push_value(L, node, evaluation->result);
    end_evaluation(evaluation);
    return 1;
}

/* stack: node -> text */
static int node_text(lua_State *L)
{
    push_text(L, xmlNodeGetContent(check(L)->element));
    return 1;
}

/* stack: node name -> text | nil */
static int node_attr(lua_State *L)
{
    struct node *node = check(L);
    const char *name = luaL_checkstring(L, 2);
    if (node->element->type != XML_ELEMENT_NODE) return 0;
    xmlChar *value = xmlGetProp(node->element, (const xmlChar *)name);
    if (!value) return 0;
    push_text(L, value);
    return 1;
}

/* stack: node -> name */
static int node_tag(lua_State *L)
{
    struct node *node = check(L);
    lua_pushstring(L, node->element->type == XML_ELEMENT_NODE ? (const char *)node->element->name : "");
    return 1;
}

static void add_type(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int gyre__job_open_xpath(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"xpath", node_xpath}, {"text", node_text}, {"attr", node_attr}, {"name", node_tag}, {NULL, NULL}};

    add_type(L, document_name, document_gc);
    add_type(L, "gyre.evaluation", evaluation_gc);
    luaL_newmetatable(L, node_name);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, node_text);
    lua_setfield(L, -2, "__tostring");
    lua_newtable(L);
    lua_pushcfunction(L, parse);
    lua_setfield(L, -2, "parse");
    lua_pushcfunction(L, html);
    lua_setfield(L, -2, "html");
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "release");
    return 1;
}
