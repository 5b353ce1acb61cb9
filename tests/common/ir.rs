//! What is looked for in the intermediate representation of kernels, between WGSL and every shader language.

use std::collections::HashSet;

use wgpu::naga::proc::TypeResolution;
use wgpu::naga::valid::{FunctionInfo, ModuleInfo};
use wgpu::naga::{
    BinaryOperator, Block, Expression, Function, Handle, Module, ScalarKind, Statement, TypeInner, UnaryOperator,
};

/// All functions of a module, the entry point included, each with its types.
fn functions<'m>(
    module: &'m Module,
    info: &'m ModuleInfo,
) -> Vec<(Option<Handle<Function>>, &'m Function, &'m FunctionInfo)> {
    let own = module.functions.iter().map(|(handle, function)| (Some(handle), function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    own.chain(entries.map(|(at, entry)| (None, &entry.function, info.get_entry_point(at)))).collect()
}

fn inner<'m>(module: &'m Module, info: &'m FunctionInfo, expression: Handle<Expression>) -> &'m TypeInner {
    let resolution: &TypeResolution = &info[expression].ty;
    resolution.inner_with(&module.types)
}

/// Every statement of a block, those of blocks within included.
fn statements<'f>(block: &'f Block, found: &mut Vec<&'f Statement>) {
    for statement in block {
        found.push(statement);
        match statement {
            Statement::Block(inner) => statements(inner, found),
            Statement::If { accept, reject, .. } => [accept, reject].into_iter().for_each(|b| statements(b, found)),
            Statement::Loop { body, continuing, .. } => {
                [body, continuing].into_iter().for_each(|b| statements(b, found))
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| statements(&case.body, found)),
            _ => {}
        }
    }
}

/// Where in the text an expression is.
fn place(function: &Function, expression: Handle<Expression>, source: &str) -> (usize, String) {
    let span = function.expressions.get_span(expression);
    let text = span.to_range().and_then(|range| source.get(range)).unwrap_or_default().to_string();
    (span.location(source).line_number as usize, text)
}

/// Selections by components of integers: GLSL has them from 4.50 on.
pub fn integer_vector_selects(module: &Module, info: &ModuleInfo, source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (_, function, types) in functions(module, info) {
        for (handle, expression) in function.expressions.iter() {
            if let Expression::Select { condition, accept, .. } = expression
                && matches!(inner(module, types, *condition), TypeInner::Vector { .. })
                && inner(module, types, *accept).scalar_kind() != Some(ScalarKind::Float)
            {
                found.push(place(function, handle, source));
            }
        }
    }
    found
}

/// Sums that a compiler may contract: a float added to, or taken off, what may be a product or a quotient that nothing else
/// rounds. `fma` says what is meant.
pub fn contractible(module: &Module, info: &ModuleInfo, source: &str) -> Vec<(usize, String)> {
    let all = functions(module, info);
    let mut found = Vec::new();
    for (at, (_, function, types)) in all.iter().enumerate() {
        for (handle, expression) in function.expressions.iter() {
            let Expression::Binary { op: BinaryOperator::Add | BinaryOperator::Subtract, left, right } = *expression
            else {
                continue;
            };
            if inner(module, types, handle).scalar_kind() != Some(ScalarKind::Float) {
                continue;
            }
            let mut search = Search { module, all: &all, seen: HashSet::new() };
            if search.is_product(at, left, None) || search.is_product(at, right, None) {
                found.push(place(function, handle, source));
            }
        }
    }
    found
}

/// A search for products through names, variables, structures, calls and arguments.
struct Search<'m> {
    module: &'m Module,
    all: &'m [(Option<Handle<Function>>, &'m Function, &'m FunctionInfo)],
    seen: HashSet<(usize, Handle<Expression>, Option<u32>)>,
}

impl<'m> Search<'m> {
    /// The variable behind a pointer, and which of its members; none where the member is not known or it is the whole.
    fn variable(
        function: &Function,
        pointer: Handle<Expression>,
    ) -> Option<(Handle<wgpu::naga::LocalVariable>, Option<u32>)> {
        match function.expressions[pointer] {
            Expression::LocalVariable(variable) => Some((variable, None)),
            Expression::AccessIndex { base, index } => match Self::variable(function, base)? {
                (variable, None) if matches!(function.expressions[base], Expression::LocalVariable(_)) => {
                    Some((variable, Some(index)))
                }
                (variable, _) => Some((variable, None)),
            },
            Expression::Access { base, .. } => Self::variable(function, base).map(|(variable, _)| (variable, None)),
            _ => None,
        }
    }

    /// Whether an expression of function `at`, or its member, may be a product.
    fn is_product(&mut self, at: usize, expression: Handle<Expression>, member: Option<u32>) -> bool {
        if !self.seen.insert((at, expression, member)) {
            return false;
        }
        let (_, function, types) = self.all[at];
        match function.expressions[expression] {
            Expression::Binary { op: BinaryOperator::Multiply | BinaryOperator::Divide, .. } => {
                inner(self.module, types, expression).scalar_kind() == Some(ScalarKind::Float)
            }
            Expression::Unary { op: UnaryOperator::Negate, expr } => self.is_product(at, expr, member),
            Expression::AccessIndex { base, index } => self.is_product(at, base, Some(index)),
            Expression::Access { base, .. } => self.is_product(at, base, None),
            Expression::Splat { value, .. } => self.is_product(at, value, None),
            Expression::Swizzle { vector, .. } => self.is_product(at, vector, None),
            Expression::Compose { ref components, .. } => match member.and_then(|m| components.get(m as usize)) {
                Some(&component) => self.is_product(at, component, None),
                None => components.iter().any(|&component| self.is_product(at, component, None)),
            },
            Expression::Select { accept, reject, .. } => {
                self.is_product(at, accept, member) || self.is_product(at, reject, member)
            }
            Expression::Load { pointer } => self.is_stored(at, pointer, member),
            Expression::CallResult(callee) => {
                let Some(at) = self.all.iter().position(|(handle, ..)| *handle == Some(callee)) else { return false };
                let returned = self.statements(at).into_iter().filter_map(|statement| match statement {
                    Statement::Return { value } => *value,
                    _ => None,
                });
                returned.collect::<Vec<_>>().into_iter().any(|value| self.is_product(at, value, member))
            }
            Expression::FunctionArgument(index) => {
                let callee = self.all[at].0;
                let passed = (0..self.all.len()).flat_map(|caller| {
                    let arguments = self.statements(caller).into_iter().filter_map(move |statement| match statement {
                        Statement::Call { function, arguments, .. } if Some(*function) == callee => {
                            arguments.get(index as usize).map(|&argument| (caller, argument))
                        }
                        _ => None,
                    });
                    arguments.collect::<Vec<_>>()
                });
                passed
                    .collect::<Vec<_>>()
                    .into_iter()
                    .any(|(caller, argument)| self.is_product(caller, argument, member))
            }
            _ => false,
        }
    }

    /// Whether a product is stored where a pointer to a variable points, in whatever order.
    fn is_stored(&mut self, at: usize, pointer: Handle<Expression>, member: Option<u32>) -> bool {
        let function = self.all[at].1;
        let Some((variable, of)) = Self::variable(function, pointer) else { return false };
        let wanted = of.or(member);
        let stores = self.statements(at).into_iter().filter_map(|statement| match statement {
            Statement::Store { pointer, value } => match Self::variable(function, *pointer) {
                Some((stored, part)) if stored == variable => match (part, wanted) {
                    (Some(part), Some(wanted)) if part != wanted => None,
                    (Some(_), _) => Some((*value, None)),
                    (None, wanted) => Some((*value, wanted)),
                },
                _ => None,
            },
            _ => None,
        });
        let stores: Vec<_> = stores.collect();
        let init = function.local_variables[variable].init.map(|init| (init, wanted));
        stores.into_iter().chain(init).any(|(value, member)| self.is_product(at, value, member))
    }

    fn statements(&self, at: usize) -> Vec<&'m Statement> {
        let mut found = Vec::new();
        statements(&self.all[at].1.body, &mut found);
        found
    }
}
