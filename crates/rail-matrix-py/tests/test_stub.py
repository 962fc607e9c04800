"""The stub describes the module that is installed: the same names, parameters, defaults."""

import ast
import inspect
import unittest
from importlib import resources

import rail_matrix

Functions = dict[str, inspect.Signature]


def stub() -> ast.Module:
    files = resources.files("rail_matrix")
    return ast.parse(files.joinpath("__init__.pyi").read_text())


def signature(function: ast.FunctionDef) -> inspect.Signature:
    """Names, kinds and defaults, without annotations."""
    bare = ast.FunctionDef(
        name="f",
        args=function.args,
        body=[ast.Pass()],
        decorator_list=[],
        lineno=1,
        col_offset=0,
        type_params=[],
    )
    for argument in ast.walk(bare.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    module = ast.fix_missing_locations(ast.Module([bare], []))
    namespace: dict[str, object] = {}
    exec(compile(module, "stub", "exec"), namespace)
    return inspect.signature(namespace["f"])


def public(names: object) -> set[str]:
    return {name for name in names if not name.startswith("_")}


class Stub(unittest.TestCase):
    def test_it_has_the_module_s_names(self) -> None:
        defined = {
            node.name: node
            for node in stub().body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        }
        self.assertEqual(public(defined), set(rail_matrix.__all__))
        listed = [node for node in stub().body if isinstance(node, ast.Assign)]
        [every] = [node for node in listed if node.targets[0].id == "__all__"]
        self.assertEqual(ast.literal_eval(every.value), sorted(rail_matrix.__all__))

    def test_its_functions_take_what_the_module_s_take(self) -> None:
        functions = [node for node in stub().body if isinstance(node, ast.FunctionDef)]
        self.assertGreaterEqual(len(functions), 3)
        for function in functions:
            with self.subTest(function.name):
                real = getattr(rail_matrix, function.name)
                self.same(signature(function), inspect.signature(real))

    def test_its_classes_have_what_the_module_s_have(self) -> None:
        classes = [node for node in stub().body if isinstance(node, ast.ClassDef)]
        classes = [node for node in classes if hasattr(rail_matrix, node.name)]
        self.assertGreaterEqual(len(classes), 4)
        for stated in classes:
            real = vars(getattr(rail_matrix, stated.name))
            methods = [node for node in stated.body if isinstance(node, ast.FunctionDef)]
            self.assertEqual(public({m.name for m in methods}), public(real), stated.name)
            for method in methods:
                decorators = [ast.unparse(decorator) for decorator in method.decorator_list]
                with self.subTest(stated.name, method=method.name):
                    if "property" in decorators:
                        self.assertTrue(inspect.isgetsetdescriptor(real[method.name]))
                    else:
                        self.same(signature(method), inspect.signature(real[method.name]))

    def test_the_error_is_a_value_error(self) -> None:
        [error] = [n for n in stub().body if isinstance(n, ast.ClassDef) and "Error" in n.name]
        self.assertEqual([ast.unparse(base) for base in error.bases], ["ValueError"])
        self.assertEqual(rail_matrix.RailMatrixError.__bases__, (ValueError,))

    def test_type_checkers_are_told_of_it(self) -> None:
        self.assertTrue(resources.files("rail_matrix").joinpath("py.typed").is_file())

    def same(self, stated: inspect.Signature, real: inspect.Signature) -> None:
        def shape(of: inspect.Signature) -> list[tuple[str, int, object]]:
            return [
                (p.name, p.kind, p.default)
                for p in of.parameters.values()
                if p.name != "self"
            ]

        self.assertEqual(shape(stated), shape(real))


if __name__ == "__main__":
    unittest.main()
